"""Pruning bit by bit in the training that follows: what masks do after each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.compress.prune.cut import judged
from flyweight.compress.prune.evidence import Evidence, Score
from flyweight.compress.prune.gather.tap import Tap
from flyweight.compress.prune.pool import Distribution, Pool
from flyweight.compress.prune.reached import gone, tell_reached
from flyweight.compress.prune.schedule import InTraining
from flyweight.compress.prune.schedules.calendar import Calendar
from flyweight.learn.progress import Progress
from flyweight.surgery.chain import links
from flyweight.surgery.mask import Mask, mask_of

HEARD = ("gradient", "movement", "momentum")
"""What a plan hears from training by itself; a score in training may ask for these."""

_DECAY = 0.9
"""Of the mean that is Evidence.momentum: that of SGD's momentum, as in Dettmers and Zettlemoyer 2019, section 3."""


class Plan(nn.Module):
    """Takes units away while the next training runs, by ``schedule``, until ``ratio`` of them is gone: then it is over.

    It makes itself a child of each mask of ``model`` that it governs, so it goes where they go, and it is one for all,
    for what goes is decided among all pools. At an update the units of least saliency go, as the weights and gradients
    of that moment have it, and so does their part of the optimizer's state; none comes back. ``lose`` tells how many
    units each pool is to lose in the end, where the distribution cannot be asked in training.

    Gradients are heard behind the masks and averaged over processes: ``gradient`` their mean since the last update,
    ``movement`` −Σ w·g since training began, ``momentum`` their exponential mean since then. Gradients that are not
    finite (half precision's) do not count.
    """

    over: Tensor
    initial: Tensor
    lose: Tensor | None
    heard: Tensor
    untold: Tensor

    def __init__(
        self,
        model: nn.Module,
        pools: Sequence[Pool],
        ratio: float,
        score: Score,
        distribution: Distribution,
        schedule: InTraining,
        lose: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.pools, self.ratio, self.score = list(pools), ratio, score
        self.distribution, self.schedule = distribution, schedule
        gates = list(dict.fromkeys(gate for pool in pools for gate in pool.gates))
        self._places = _masked(model, gates)
        self.wants = tuple(need for need in HEARD if need in score.needs)
        targets = [target for pool in pools for target in pool.reads(score.reads)] if self.wants else []
        self._ears = [(self._masks_of(module, name), dotted) for module, name, dotted in targets]
        self.register_buffer("over", torch.tensor(False))
        self.register_buffer("initial", torch.tensor(-1.0))
        self.register_buffer("lose", None if lose is None else torch.tensor(list(lose)))
        # Of training alone: a checkpoint holds them, a finished model does not.
        self.register_buffer("heard", torch.tensor(0), persistent=False)
        self.register_buffer("untold", torch.tensor(False), persistent=False)
        for index in range(len(self._ears)):
            for need in self.wants:
                self.register_buffer(f"{need}{index}", None, persistent=False)
        self._over = False
        self._listen(True)
        for gate in gates:
            number = sum(isinstance(child, Plan) for child in gate.children())
            gate.add_module(f"plan{number or ''}", self)

    @property
    def pending(self) -> bool:
        """Whether a training is to come, or to go on, in which units go."""
        return not self._over

    def after_step(self, progress: Progress) -> None:
        """Takes away what is due after this step; after the last one of the training tells what it missed."""
        if not self._over:
            self._move(progress)
        if progress.step == progress.total and bool(self.untold):
            self.untold.fill_(False)
            tell_reached(self.pools, self.ratio, self.distribution, max(0.0, float(self.initial)))

    def _move(self, progress: Progress) -> None:
        schedule = self.schedule
        calendar = Calendar.of(schedule.begin, schedule.end, schedule.every, progress.total)
        with torch.no_grad():
            self._hear(calendar, progress)
            if calendar.due(progress.step):
                self._update(calendar, progress)
        if progress.step >= calendar.stop:
            self.finish()
            self.untold.fill_(True)
        else:
            self._listen(self._wanted(calendar, progress.step + 1))

    def finish(self) -> None:
        """Ends it: nothing more is heard or taken away."""
        self._over = True
        self.over.fill_(True)
        self._listen(False)
        for index in range(len(self._ears)):
            for need in self.wants:
                setattr(self, f"{need}{index}", None)

    def extra_repr(self) -> str:
        """What it does."""
        return f"ratio={self.ratio}, {self.score}, {self.distribution}, {self.schedule}"

    def _wanted(self, calendar: Calendar, step: int) -> bool:
        """Whether the gradient of ``step`` is evidence."""
        return self.wants != ("gradient",) or step > calendar.start

    def _masks_of(self, module: nn.Module, name: str) -> list[Mask]:
        """The mask on a weight, and those where else the same parameter stands: its gradient is their sum."""
        mine = mask_of(module, name)
        weight = _original(module, name)
        return [mine, *(m for other, n, m in self._places if m is not mine and _original(other, n) is weight)]

    def _heard_masks(self) -> list[Mask]:
        return list(dict.fromkeys(mask for masks, _ in self._ears for mask in masks))

    def _listen(self, hears: bool) -> None:
        for mask in self._heard_masks():
            mask.hears = hears
            if not hears:
                mask.take_heard()

    def _hear(self, calendar: Calendar, progress: Progress) -> None:
        wanted = self._wanted(calendar, progress.step)
        at = {mask: mask.at for mask in self._heard_masks()}
        told = {mask: mask.take_heard() for mask in at}
        for index, (masks, _) in enumerate(self._ears):
            if not wanted:
                continue
            weight = next((at[mask] for mask in masks if at[mask] is not None), None)
            parts = [part.float() for mask in masks if (part := told[mask]) is not None]
            gradient = torch.stack(parts).sum(0) if parts else torch.zeros_like(masks[0].keep, dtype=torch.float32)
            if progress.scale is not None:
                gradient = gradient / progress.scale
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(gradient)
                gradient /= torch.distributed.get_world_size()
            gradient = torch.where(gradient.isfinite().all(), gradient, torch.zeros_like(gradient))
            if "gradient" in self.wants:
                self._add(f"gradient{index}", gradient)
            if "movement" in self.wants and weight is not None:
                self._add(f"movement{index}", -weight.float() * gradient)
            if "momentum" in self.wants:
                self._add(f"momentum{index}", (1 - _DECAY) * gradient, _DECAY)
        if wanted and self._ears:
            self.heard += 1

    def _add(self, name: str, value: Tensor, keep: float = 1.0) -> None:
        before: Tensor | None = getattr(self, name)
        setattr(self, name, value if before is None else keep * before + value)

    def _update(self, calendar: Calendar, progress: Progress) -> None:
        gone_ = gone(self.pools, self.distribution)
        if float(self.initial) < 0:
            self.initial.fill_(gone_)
        initial, share = float(self.initial), self.schedule(calendar.done(progress.step))
        ratio = self.ratio if share == 1.0 else initial + (self.ratio - initial) * share
        if self.ratio > gone_:
            evidence = self._evidence()
            found = judged(self.pools, self.score, lambda pool: evidence)
            if self.lose is None:
                fractions = self.distribution(found.pools, found.saliency, ratio, None)
            else:
                part = ratio / self.ratio
                shares = zip(self.lose.tolist(), found.saliency, strict=True)
                fractions = [part * count / len(saliency) for count, saliency in shares]
            for pool, keep in zip(found.pools, found.keep(fractions), strict=True):
                pool.write(keep)
            self._forget(progress.optimizer)
        for index in range(len(self._ears)):
            if "gradient" in self.wants:
                setattr(self, f"gradient{index}", None)
        if self.wants:
            self.heard.zero_()

    def _evidence(self) -> dict[str, Evidence]:
        names = {name: index for index, (_, name) in enumerate(self._ears)}
        found = {}
        for pool in self.pools:
            for module, parameter, name in pool.reads(self.score.reads):
                tap = Tap(module, parameter, name)
                heard: dict[str, Any] = {need: self._told(need, names[name]) for need in self.wants}
                if "openness" in self.score.needs:
                    heard["openness"] = tap.openness()
                found[name] = Evidence(name, tap.value(), **heard)
        return found

    def _told(self, need: str, index: int) -> Tensor:
        value: Tensor | None = getattr(self, f"{need}{index}")
        if value is None:
            return torch.zeros_like(self._ears[index][0][0].keep, dtype=torch.float32)
        return value / self.heard.clamp(min=1) if need == "gradient" else value

    def _forget(self, optimizer: torch.optim.Optimizer) -> None:
        """Zeroes the optimizer's state of what is gone, so that nothing moves it any more."""
        for module, name, mask in self._places:
            if not parametrize.is_parametrized(module, name):  # a step in between has taken the chain off
                continue
            parameter = _original(module, name)
            for value in optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor) and value.shape == mask.keep.shape:
                    value.masked_fill_(~mask.keep, 0)

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._over = bool(self.over)
        self._listen(not self._over)


def _original(module: nn.Module, name: str) -> Tensor:
    found: Tensor = module.parametrizations[name].original  # type: ignore[index, union-attr]
    return found


def _masked(model: nn.Module, gates: Sequence[nn.Module]) -> list[tuple[nn.Module, str, Mask]]:
    """Where the masks among ``gates`` stand: module, parameter's name, mask."""
    wanted = {id(gate) for gate in gates}
    found = []
    for module in model.modules():
        for name in module.parametrizations if parametrize.is_parametrized(module) else ():  # type: ignore[union-attr]
            found += [(module, name, link) for link in links(module, name) if id(link) in wanted]
    return [(module, name, mask) for module, name, mask in found if isinstance(mask, Mask)]
