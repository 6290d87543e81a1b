"""The step that prunes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.prune.check import Axes, check_axes, check_plugs
from flyweight.compress.prune.cut import Judged, counts, judged
from flyweight.compress.prune.damage import damage_of
from flyweight.compress.prune.distributions.earliest import check_ratio
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.evidence import Evidence, Score
from flyweight.compress.prune.gather.gather import gather
from flyweight.compress.prune.plan import Plan
from flyweight.compress.prune.pool import Distribution, Pool, Structure
from flyweight.compress.prune.reached import gone, tell_reached
from flyweight.compress.prune.rounds import rounds
from flyweight.compress.prune.schedule import Schedule
from flyweight.compress.prune.schedules.one_shot import one_shot
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.structures.element import element
from flyweight.compress.prune.structures.layer import layer
from flyweight.core.errors import UnsupportedError
from flyweight.core.step import Recipe, Step
from flyweight.core.task import Task
from flyweight.surgery.chain import links
from flyweight.surgery.device import device_of
from flyweight.surgery.mask import Mask


@dataclass(frozen=True)
class Prune(Step):
    """Takes the fraction ``ratio`` of a model's elements, blocks, channels, heads or layers away, by masks.

    ``structure`` says what goes together, ``score`` what matters, ``distribution`` how much each layer loses, and
    ``schedule`` when: at once, or in the training that follows. ``ratio`` is of all that ``structure`` may take, that
    which is gone already included, and is met exactly, but for the size of one unit (and a structure's ``round_to``);
    where it is missed by more, or visibly by units as large as heads, a note says by how much and why
    (:mod:`flyweight.core.notes`). No layer loses everything, and what has gone does not come back. ``exclude`` holds
    globs of module names that are left alone.

    A mask holds zeros in place and makes nothing smaller by itself: :class:`~flyweight.compress.prune.remove.Remove`
    takes masked channels, heads and layers out. Raises :class:`FlyweightError` for axes that do not go together,
    :class:`UnsupportedError` where nothing can be pruned or a schedule is still to be trained, and
    :class:`UnknownNameError` for a glob that matches nothing.
    """

    ratio: float
    score: Score = magnitude()  # noqa: RUF009 (frozen)
    structure: Structure = element()  # noqa: RUF009
    distribution: Distribution = uniform()  # noqa: RUF009
    schedule: Schedule = one_shot()  # noqa: RUF009
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if isinstance(self.exclude, list):
            object.__setattr__(self, "exclude", tuple(self.exclude))
        check_plugs(self)
        check_axes(Axes(self.score, self.structure, self.distribution, self.schedule, self.ratio))

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        pools = self._pools(model, task)
        _check_idle(pools)
        if self.schedule.in_training:
            lose = None
            if getattr(self.distribution, "measures", False):
                found = self._judged(model, pools, task)
                fractions = self.distribution(found.pools, found.saliency, self.ratio, damage_of(model, task, found))
                kept = counts(found.pools, fractions)
                lose = [len(s) - count for s, count in zip(found.saliency, kept, strict=True)]
                pools = list(found.pools)
            self._plan(model, pools, lose)
            return model
        at_once: Any = self.schedule
        before = gone(pools, self.distribution)
        pruned = rounds(model, task, at_once, self.ratio, self._cut)
        tell_reached(pools if pruned is model else self._pools(pruned, task), self.ratio, self.distribution, before)
        return pruned

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        pools = self._pools(model, task)
        if isinstance(self.structure, layer):
            self.structure.replayed(pools, state)
        if self.schedule.in_training:
            lose = [0] * len(pools) if getattr(self.distribution, "measures", False) else None
            plan = self._plan(model, pools, lose)
            if isinstance(self.structure, layer):
                plan.finish()  # or steps that follow could not trace the model; the state tells if it is over
        return model

    def teachers(self) -> tuple[Recipe, ...]:
        """Those of the training between rounds."""
        train = getattr(self.schedule, "train", None)
        return () if train is None else train.teachers()

    def _pools(self, model: nn.Module, task: Task) -> list[Pool]:
        pools = self.structure(model, task, self.exclude)
        readable = [pool for pool in pools if pool.reads(self.score.reads)]
        if not readable:
            raise UnsupportedError(
                f"UnsupportedError: {self.structure} finds nothing in {type(model).__name__} that {self.score} can "
                f"score{f' outside exclude={self.exclude!r}' if self.exclude else ''}. Choose another structure or "
                "score, or leave Prune out of the recipe."
            )
        return readable

    def _plan(self, model: nn.Module, pools: list[Pool], lose: Sequence[int] | None) -> Plan:
        schedule: Any = self.schedule
        plan = Plan(model, pools, self.ratio, self.score, self.distribution, schedule, lose)
        return plan.to(device_of(model))

    def _cut(self, model: nn.Module, task: Task, ratio: float) -> None:
        """One round at once."""
        found = self._judged(model, self._pools(model, task), task)
        damage = damage_of(model, task, found) if getattr(self.distribution, "measures", False) else None
        fractions = self.distribution(found.pools, found.saliency, ratio, damage)
        for pool, keep in zip(found.pools, found.keep(fractions), strict=True):
            if hasattr(self.score, "compensate"):
                self._compensate(model, pool, keep, task)
            else:
                pool.write(keep)

    def _judged(self, model: nn.Module, pools: Sequence[Pool], task: Task) -> Judged:
        if "gram" in self.score.needs:  # large, so one layer's at a time
            return judged(pools, self.score, lambda pool: self._gathered(model, [pool], task))
        whole = self._gathered(model, pools, task)
        return judged(pools, self.score, lambda pool: whole)

    def _gathered(self, model: nn.Module, pools: Sequence[Pool], task: Task) -> dict[str, Evidence]:
        targets = [target for pool in pools for target in pool.reads(self.score.reads)]
        return gather(model, targets, self.score.needs, task)

    @torch.no_grad()
    def _compensate(self, model: nn.Module, pool: Pool, keep: Tensor, task: Task) -> None:
        """Takes away, and has the score change what stays; later layers see what earlier ones then give."""
        evidence = self._gathered(model, [pool], task)
        pool.write(keep)
        for module, name, dotted in pool.reads(self.score.reads):
            first = links(module, name)[0]
            if not isinstance(first, Mask):
                raise UnsupportedError(
                    f"UnsupportedError: {self.score} writes new weights, and those of {dotted!r} are made by "
                    f"{type(first).__name__}. Take Settle() before this step, or exclude the layer."
                )
            score: Any = self.score
            weight: Tensor = module.parametrizations[name].original  # type: ignore[index, union-attr]
            weight.copy_(torch.where(first.keep, score.compensate(evidence[dotted], first.keep), weight))


def _check_idle(pools: Sequence[Pool]) -> None:
    """Refuses masks that a training yet to come will move: two schedules would spoil each other's count."""
    for pool in pools:
        for gate in pool.gates:
            for child in gate.children():
                over = getattr(child, "over", None)
                if isinstance(over, Tensor) and not bool(over):
                    raise UnsupportedError(
                        f"UnsupportedError: {pool.name!r} is under {type(child).__name__}({child.extra_repr()}), which "
                        "a training has yet to carry out. Take Train(epochs=…) between the two steps."
                    )
