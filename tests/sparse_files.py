"""Files with operations of the sparse kernels, run without the library: each operation by its twin in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import Tensor
from torch.nn import functional as F

from flyweight.kernels.library import DOMAIN
from flyweight.kernels.reference.depthwise import depthwise
from flyweight.kernels.reference.sparse_block import sparse_block
from flyweight.kernels.reference.sparse_conv import sparse_conv
from flyweight.kernels.reference.sparse_linear import sparse_linear
from flyweight.measure.own_parts import with_parts


def _tensor(value: Any) -> Tensor | None:
    return None if value is None else torch.from_numpy(np.array(value))


class _Op(OpRun):
    op_domain = DOMAIN

    def _told(self, name: str, default: Any = None) -> Any:
        for attribute in self.onnx_node.attribute:
            if attribute.name == name:
                value = onnx.helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        assert default is not None, name
        return default

    def _window(self) -> list[int]:
        return [
            *self._told("strides", [1, 1]),
            *self._told("dilations", [1, 1]),
            *self._told("pads", [0, 0, 0, 0]),
        ]


class SparseConv(_Op):
    def _run(self, x, values, keep, bias=None, residual=None, **_):
        shape = [self._told("rows"), self._told("inputs"), *self._told("kernel_shape")]
        args = [_tensor(v) for v in (x, values, keep, bias, residual)]
        return (sparse_conv(*args, shape, self._told("block"), self._window(), self._told("activation")).numpy(),)


class SparseLinear(_Op):
    def _run(self, x, values, keep, bias=None, residual=None, **_):
        shape = [self._told("rows"), self._told("inputs")]
        args = [_tensor(v) for v in (x, values, keep, bias, residual)]
        return (sparse_linear(*args, shape, self._told("block"), self._told("activation")).numpy(),)


class Depthwise(_Op):
    def _run(self, x, weight, bias=None, **_):
        args = [_tensor(v) for v in (x, weight, bias)]
        return (depthwise(*args, self._window(), self._told("activation")).numpy(),)


class SparseBlock(_Op):
    def _run(self, x, ev, ek, eb, dw, db, pv, pk, pb=None, **_):
        args = [_tensor(v) for v in (x, ev, ek, eb, dw, db, pv, pk, pb)]
        shape = [self._told("inputs"), self._told("rows")]
        blocks = [*self._told("expand_block"), *self._told("project_block")]
        activations = [self._told("expand_activation"), self._told("activation"), ""]
        residual = bool(self._told("residual"))
        return (sparse_block(*args, shape, blocks, self._window(), activations, residual).numpy(),)


class Attention(_Op):
    def _run(self, q, k, v, mask=None, **_):
        if q.ndim == 4:  # features before tokens
            return (self._run(*(x[:, :, 0].swapaxes(1, 2) for x in (q, k, v)), mask)[0].swapaxes(1, 2)[:, :, None],)
        heads = [_tensor(x).unflatten(2, (self._told("heads"), self._told("size"))).transpose(1, 2) for x in (q, k, v)]
        mixed = F.scaled_dot_product_attention(*heads, attn_mask=_tensor(mask), scale=self._told("scale"))
        return (mixed.transpose(1, 2).flatten(2).numpy(),)


class LayerNorm(_Op):
    def _run(self, x, gain, bias=None, **_):
        gain, bias = _tensor(gain), _tensor(bias)
        if self._told("channels", 0):
            turned = F.layer_norm(_tensor(x).movedim(1, -1), gain.shape, gain, bias, self._told("epsilon"))
            return (turned.movedim(-1, 1).numpy(),)
        return (F.layer_norm(_tensor(x), gain.shape, gain, bias, self._told("epsilon")).numpy(),)


OPS = [SparseConv, SparseLinear, Depthwise, SparseBlock, Attention, LayerNorm]


def run(proto: Any, *inputs: Any) -> list[np.ndarray]:
    """The outputs of ``proto``, by plain operations of ONNX's own evaluator and by our twins."""
    names = [value.name for value in proto.graph.input]
    arrays = [np.asarray(x) for x in inputs]
    evaluator = ReferenceEvaluator(with_parts(proto), new_ops=OPS)
    return evaluator.run(None, dict(zip(names, arrays, strict=True)))


def ops(proto: Any) -> list[str]:
    """The types of ``proto``'s operations that are ours, in order; those of a network one by one."""
    return [node.op_type for node in with_parts(proto).graph.node if node.domain == DOMAIN]
