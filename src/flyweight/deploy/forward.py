"""A runtime's session as a function of torch tensors, so that losses and metrics take it as they take a module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from flyweight.core.task import Forward
    from flyweight.measure.session import Session


def as_forward(session: Session) -> Forward:
    """``session`` as a :data:`~flyweight.core.task.Forward`: tensors to a tensor, or to a tuple of several.

    A file whose batch is fixed is called in pieces of that size, the last one filled up with copies of its last
    example, whose outputs are dropped; its outputs have to carry the examples along dimension 0.
    """

    def forward(*inputs: Tensor) -> Any:
        fixed = _fixed_batch(session)
        if fixed is None or not inputs or inputs[0].shape[0] == fixed:
            outputs = _call(session, inputs)
        else:
            count = inputs[0].shape[0]
            pieces = [
                _call(session, [_filled(x[start : start + fixed], fixed) for x in inputs])
                for start in range(0, count, fixed)
            ]
            outputs = tuple(torch.cat(parts)[:count] for parts in zip(*pieces, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs

    return forward


def _call(session: Session, inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(a) for a in session(*(x.detach().cpu().contiguous().numpy() for x in inputs)))


def _fixed_batch(session: Session) -> int | None:
    sizes = {port.shape[0] for port in session.inputs if port.shape}
    return sizes.pop() if len(sizes) == 1 else None


def _filled(piece: Tensor, size: int) -> Tensor:
    missing = size - piece.shape[0]
    return piece if missing == 0 else torch.cat([piece, piece[-1:].expand(missing, *piece.shape[1:])])
