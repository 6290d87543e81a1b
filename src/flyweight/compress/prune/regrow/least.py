"""The units of the least value."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def least(value: Tensor, among: Tensor, count: int) -> Tensor:
    """Bool, in ``value``'s shape: the ``count`` units ``among`` (bool) of the least ``value``; of equals the first."""
    found = torch.zeros_like(among)
    order = value.masked_fill(~among, math.inf).argsort(stable=True)
    found[order[:count]] = True
    return found & among
