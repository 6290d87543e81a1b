"""What a layer's output loses when a weight goes and the others make up for it, and how they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.required import required
from flyweight.core.errors import FlyweightError, ShapeError, TrainingError

_AT_ONCE = 2**24
"""How many numbers of inverses are held at a time."""


@dataclass(frozen=True)
class obs:
    """w_q²/(2·[H⁻¹]_qq) for each row of a layer's weight, H = XᵀX/n + ``damping``·mean(diag(XᵀX/n))·I.

    This is ½·δwᵀHδw, half the mean squared change of the output, at the best update δw = −w_q/[H⁻¹]_qq·H⁻¹e_q of the
    other weights; :meth:`compensate` makes the update of a whole set. A tile of a block structure that spans the
    columns Q costs Σ over its rows of ½·w_Qᵀ·([H⁻¹]_QQ)⁻¹·w_Q, of which each weight has the part
    ½·w_q·(([H⁻¹]_QQ)⁻¹·w_Q)_q. ``greedy`` takes weights of a row away one by one, least saliency first, each time
    updating the others and H⁻¹, so that of two inputs that say the same one stays: saliencies are those of that moment,
    and never fall along the way. It costs rows · columns³. ``block`` columns at a time are taken as a matrix H of their
    own, as if others were uncorrelated with them.

    Raises :class:`FlyweightError` for settings out of range, :class:`TrainingError` where H cannot be inverted.
    Source: Hassibi and Stork 1992, Optimal Brain Surgeon, eq. 5; a layer at a time Dong et al. 2017, arXiv:1705.07565;
    greedy by rows Frantar and Alistarh 2022, arXiv:2208.11580, algorithm 1; tiles Kurtic et al. 2022,
    arXiv:2203.07259, section 3.1.
    """

    damping: float = 0.01
    block: int = 1024
    greedy: bool = False

    needs: ClassVar[tuple[str, ...]] = ("gram",)
    reads: ClassVar[str] = "weight"

    def __post_init__(self) -> None:
        if not 0 <= self.damping < float("inf"):
            raise FlyweightError(f"FlyweightError: obs got damping={self.damping!r}. Give 0 or more; 0.01 is usual.")
        if isinstance(self.block, bool) or not isinstance(self.block, int) or self.block < 1:
            raise FlyweightError(f"FlyweightError: obs got block={self.block!r}. Give 1 or more, as in block=128.")

    def __call__(self, evidence: Evidence) -> Tensor:
        weight, gram = self._rows(evidence)
        result = torch.empty_like(weight)
        for part in self._blocks(weight):
            for group in range(len(weight)):
                hessian, rows = self._damped(gram, group, part), weight[group][:, part]
                if self.greedy:
                    inverse = torch.cholesky_inverse(self._factor(hessian, evidence.name))
                    result[group][:, part] = _one_by_one(rows, inverse)
                else:
                    together = None if evidence.together is None else evidence.together.to(rows.device)[part]
                    result[group][:, part] = self._at_once(rows, hessian, together, evidence.name)
        return result.reshape(evidence.weight.shape).float()

    def _at_once(self, rows: Tensor, hessian: Tensor, together: Tensor | None, name: str) -> Tensor:
        """The saliency of weights, or tiles of them, each as the next to go; what is gone already makes up for none."""
        told = torch.zeros_like(rows)
        patterns, which = torch.unique(rows != 0, dim=0, return_inverse=True)
        for index, live in enumerate(patterns):
            mine, stay = (which == index).nonzero(), live.nonzero().flatten()
            if not len(stay):
                continue
            inverse = torch.cholesky_inverse(self._factor(hessian[stay][:, stay], name))
            left = rows[mine, stay]
            told[mine, stay] = (
                left.square() / (2 * inverse.diagonal())
                if together is None
                else _by_tiles(left, inverse, together[stay])
            )
        return told

    def compensate(self, evidence: Evidence, keep: Tensor) -> Tensor:
        """The weight with zeros outside ``keep`` (bool, in its shape) and the rest updated for it.

        Of each row w, with K what is kept: w'_K = w_K + H_KK⁻¹·H_KQ·w_Q minimises (w' − w)ᵀH(w' − w), so for that set
        nothing does better on the inputs that were seen. Rows that keep the same are solved together.
        """
        weight, gram = self._rows(evidence)
        kept = keep.to(weight.device).reshape(weight.shape)
        result = torch.zeros_like(weight)
        for part in self._blocks(weight):
            for group in range(len(weight)):
                hessian = self._damped(gram, group, part)
                rows = weight[group][:, part]
                target = rows @ hessian
                masks, which = torch.unique(kept[group][:, part], dim=0, return_inverse=True)
                solved = torch.zeros_like(rows)
                for index, mask in enumerate(masks):
                    mine = (which == index).nonzero().flatten()
                    stay = mask.nonzero().flatten()
                    if not len(stay):
                        continue
                    if len(stay) == len(mask):
                        solved[mine] = rows[mine]
                        continue
                    factor = self._factor(hessian[stay][:, stay], evidence.name)
                    found = torch.cholesky_solve(target[mine][:, stay].T, factor).T
                    solved[mine.unsqueeze(1), stay] = found
                result[group][:, part] = solved
        return result.reshape(evidence.weight.shape).to(evidence.weight.dtype)

    def _rows(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """The weight as ``(groups, rows, columns)`` and the Gram matrices ``(groups, columns, columns)``, float64."""
        weight, gram = required(evidence, "weight", "obs"), required(evidence, "gram", "obs")
        width = weight[0].numel()
        groups = gram.numel() // max(1, width * width)
        if gram.shape[-2:] != (width, width) or len(weight) % max(1, groups):
            raise ShapeError(
                f"ShapeError: obs got a Gram matrix of shape {tuple(gram.shape)} for {evidence.name!r} of shape "
                f"{tuple(weight.shape)}. Give ({width}, {width}), or as many for each group, as gather() does."
            )
        return weight.reshape(groups, -1, width).double(), gram.reshape(groups, width, width)

    def _blocks(self, weight: Tensor) -> list[slice]:
        return [slice(start, start + self.block) for start in range(0, weight.shape[2], self.block)]

    def _damped(self, gram: Tensor, group: int, part: slice) -> Tensor:
        one = gram[group][part, part].double()
        mean = float(one.diagonal().mean())
        # Of inputs that are all zero nothing is known: then each weight goes by its own size.
        return one + torch.eye(len(one), dtype=one.dtype, device=one.device) * (self.damping * mean if mean else 1.0)

    def _factor(self, hessian: Tensor, name: str) -> Tensor:
        factor, failed = torch.linalg.cholesky_ex(hessian)
        if int(failed):
            raise TrainingError(
                f"TrainingError: obs can't invert the Gram matrix of {name!r} ({len(hessian)} columns): with "
                f"damping={self.damping:g} some inputs say nothing new. Raise it, as in obs(damping=0.01), or gather "
                "more samples."
            )
        result: Tensor = factor
        return result


def _by_tiles(rows: Tensor, inverse: Tensor, together: Tensor) -> Tensor:
    """Each weight's part in what it costs that all columns of its tile go at once."""
    told = torch.empty_like(rows)
    sizes = torch.unique(together, return_counts=True)[1]
    starts, order = sizes.cumsum(0) - sizes, together.argsort(stable=True)
    for size in sizes.unique().tolist():  # tiles at the edge are cut short, and some have lost columns
        columns = order[starts[sizes == size].unsqueeze(1) + torch.arange(size, device=order.device)]
        inside = inverse[columns.unsqueeze(2), columns.unsqueeze(1)]
        weights = rows[:, columns]
        told[:, columns] = 0.5 * weights * torch.linalg.solve(inside, weights.permute(1, 2, 0)).permute(2, 0, 1)
    return told


def _one_by_one(rows: Tensor, inverse: Tensor) -> Tensor:
    """Each weight's saliency at the moment when it goes, rows side by side."""
    width = rows.shape[1]
    parts = torch.split(rows, max(1, _AT_ONCE // (width * width)))
    return torch.cat([_go(part.clone(), inverse.expand(len(part), -1, -1).clone()) for part in parts])


def _go(rows: Tensor, inverse: Tensor) -> Tensor:
    each = torch.arange(len(rows), device=rows.device)
    live = torch.ones_like(rows, dtype=torch.bool)
    told = torch.zeros_like(rows)
    highest = rows.new_zeros(len(rows))
    for _ in range(rows.shape[1]):
        spread = inverse.diagonal(dim1=1, dim2=2)
        rise = torch.where(live, rows.square() / (2 * spread.clamp(min=torch.finfo(rows.dtype).tiny)), torch.inf)
        lowest, q = rise.min(1)
        highest = highest.maximum(lowest)
        told[each, q] = highest
        live[each, q] = False
        column = inverse[each, :, q]
        pivot = column[each, q].unsqueeze(1)
        rows = torch.where(live, rows - column * (rows[each, q].unsqueeze(1) / pivot), 0.0)
        inverse = inverse - column.unsqueeze(2) * (column / pivot).unsqueeze(1)
    return told
