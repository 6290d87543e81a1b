"""The operations of ``torch.ops.flyweight``: import this before a program that holds some is loaded."""

from __future__ import annotations

from flyweight.kernels.depthwise import depthwise
from flyweight.kernels.sparse_block import sparse_block
from flyweight.kernels.sparse_conv import sparse_conv
from flyweight.kernels.sparse_linear import sparse_linear

__all__ = ["depthwise", "sparse_block", "sparse_conv", "sparse_linear"]
