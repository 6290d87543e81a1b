"""The link that keeps a weight as integers on a symmetric grid."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from flyweight.numerics.affine import fake_quantize, quantize, symmetric_scale
from flyweight.numerics.codes import CodeRange
from flyweight.numerics.granularity import Granularity, per_channel, per_group
from flyweight.surgery.chain import ROUND, Link
from flyweight.surgery.stored import Codes, StoredForm


class FakeQuantize(Link):
    """ŵ = s · clamp(round(w / s), ±(2^(b−1) − 1)), with s = max|w| / (2^(b−1) − 1) of each row of ``granularity``.

    The scale is a function of the weight, here and at export alike, so it follows training and is never guessed
    twice. ``floor`` gives the least scale of each row, or nothing; an :class:`~flyweight.surgery.integer.IntegerLayer`
    sets it.
    The gradient passes straight through, for no value lies outside the grid.
    """

    stage = ROUND

    def __init__(self, bits: int = 8, granularity: Granularity = per_channel()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.codes = CodeRange(bits, narrow=True)
        self.granularity = granularity
        self.floor: Callable[[], Tensor | None] | None = None
        self.latest = torch.ones(1, 1)  # the scale of the last forward pass, so that the bias need not find it anew

    def scale(self, rows: Tensor) -> Tensor:
        """The scale of each of ``rows``, ``(rows, 1)``."""
        rows = rows.detach()
        scale = symmetric_scale(rows.amin(1, keepdim=True), rows.amax(1, keepdim=True), self.codes)
        floor = None if self.floor is None else self.floor()
        if floor is None:
            return scale
        least = floor.reshape(-1, 1)
        return scale.maximum(least if len(least) == len(scale) else least.max())

    def forward(self, weight: Tensor) -> Tensor:
        """The weight rounded to its grid."""
        rows = self.granularity.rows(weight)
        scale = self.latest = self.scale(rows)
        return self.granularity.whole(fake_quantize(rows, scale, scale.new_zeros(()), self.codes), weight)

    def stored(self, weight: Tensor) -> StoredForm:
        """:class:`Codes`: what :meth:`forward` rounds to, as integers and scales."""
        rows = self.granularity.rows(weight.detach())
        scale = self.scale(rows)
        codes = quantize(rows, scale, scale.new_zeros(()), self.codes).to(torch.int8)
        codes = self.granularity.whole(codes, weight).contiguous()
        group = self.granularity.size if isinstance(self.granularity, per_group) else None
        axis = self.granularity.axis % weight.dim() if isinstance(self.granularity, per_channel) else None
        if group is not None:
            scale = scale.reshape(weight.shape[0], -1)
        return Codes(codes, scale.reshape(-1) if group is None else scale, self.codes.bits, axis, group)

    def extra_repr(self) -> str:
        """Bits and granularity."""
        return f"bits={self.codes.bits}, {self.granularity}"
