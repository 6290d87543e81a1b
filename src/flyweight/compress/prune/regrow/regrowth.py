"""What drops and regrows elements while a model trains: one module, shared by all the masks that it governs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.regrow.rule import Layer, Rule
from flyweight.core.errors import TrainingError
from flyweight.learn.progress import Progress
from flyweight.learn.randomness import derived
from flyweight.surgery.mask import Mask


class Regrowth(nn.Module):
    """Asks ``rule`` every so many optimizer steps which elements live on, in the first training that follows.

    An update comes when the optimizer's step is done, from that step's dense gradient, and on the weights after it
    (RigL's paper leaves that one optimizer step out). What lived before and lives after keeps its value and its
    optimizer state; for every other element both are set to zero, but for the optimizer's count of steps. As a masked
    element's gradient is zero and weight decay is a factor of its value, it stays zero until it grows.

    Dense gradients are heard in the steps alone that the rule asks for, summed over the pieces of a step
    (accumulation), and averaged over processes, so that all of them choose alike. They come as the backward pass makes
    them, unclipped: a clip is one factor for all weights, on which no order hangs. fp16's scale is taken out, since an
    exponential mean may span a change of it. Where a step's gradient holds NaN or infinity (fp16 skips such a step), an
    update waits for the next step, and a mean stays.

    ``pools`` are weights under masks. This module becomes a child of every such mask; it refers back to them by a
    tuple, for registered sub-modules would make a circle. A weight that is frozen keeps its mask.
    """

    due: Tensor
    over: Tensor

    def __init__(self, pools: Sequence[Pool], rule: Rule, seed: int) -> None:
        super().__init__()
        self.rule, self.seed = rule, seed
        self._pools = tuple(pools)
        # Asked for at every step, so the answers are kept as Python's too; the buffers are for checkpoints.
        self._due, self._over = rule.every == 1, rule.every is None
        self.register_buffer("due", torch.tensor(self._due), persistent=False)
        self.register_buffer("over", torch.tensor(self._over))
        for number in range(len(self._pools)):
            self.register_buffer(f"mean{number}", None, persistent=False)
        for mask in self._masks():
            mask.regrowth = self
        self._listen()

    def after_step(self, progress: Progress) -> None:
        """Takes in what was heard, and updates the masks where it is time."""
        if self._over:
            return
        every, end = self.rule.every, self.rule.until * progress.total
        assert every is not None
        if progress.step == 1 and every >= end:
            raise TrainingError(
                f"TrainingError: {self.rule!r} would change no mask: the training has {progress.total} steps, and "
                f"masks change before step {end:g}. Give every={max(1, int(end / 10))} or so, train longer, or use "
                "static() if the masks shall stay."
            )
        if self.rule.memory:
            self._remember(self.rule.memory, progress)
        if self._due:
            self._set(due=not self._update(progress, end))
        if not self._due:
            self._set(due=(progress.step + 1) % every == 0 and progress.step + 1 < end)
        if progress.step >= end or progress.step >= progress.total:
            self._set(due=False, over=True)
            for number in range(len(self._pools)):
                setattr(self, f"mean{number}", None)
        self._listen()

    def extra_repr(self) -> str:
        """The rule and the seed."""
        return f"{self.rule!r}, seed={self.seed}"

    def _set(self, *, due: bool, over: bool = False) -> None:
        if due != self._due:
            self._due = due
            self.due.fill_(due)
        if over != self._over:
            self._over = over
            self.over.fill_(over)

    def _masks(self) -> Iterator[Mask]:
        for pool in self._pools:
            yield from (gate for gate in pool.gates if isinstance(gate, Mask))

    def _listen(self) -> None:
        memory = self.rule.memory
        hears = not self._over and memory is not None and (self._due or memory > 0)
        for mask in self._masks():
            mask.hears = hears
            if not hears:
                mask.take_heard()

    def _heard(self, progress: Progress) -> list[Tensor]:
        """The dense gradient of each weight, over all its places and averaged over processes; zero where none came."""
        found = []
        for pool in self._pools:
            parts = [gate.take_heard() for gate in pool.gates if isinstance(gate, Mask)]
            heard = [part for part in parts if part is not None]
            gradient = torch.stack(heard).sum(0) if heard else torch.zeros_like(weight_of(pool))
            found.append(gradient if progress.scale is None else gradient / progress.scale)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            found = [gradient.contiguous() for gradient in found]
            for gradient in found:
                torch.distributed.all_reduce(gradient)
                gradient /= torch.distributed.get_world_size()
        return found

    @torch.no_grad()
    def _remember(self, memory: float, progress: Progress) -> None:
        """m ← β·m + (1 − β)·g, but for what is no number."""
        for number, gradient in enumerate(self._heard(progress)):
            mean = getattr(self, f"mean{number}")
            mean = torch.zeros_like(gradient) if mean is None else mean
            # No branch: whether all is finite is known on the device alone.
            moved = torch.where(gradient.isfinite().all(), memory * mean + (1 - memory) * gradient, mean)
            setattr(self, f"mean{number}", moved)

    def _asked_for(self, progress: Progress) -> list[Tensor] | None:
        """What the rule wants to see of each weight's gradient; None where that is no number."""
        if self.rule.memory is None:
            return [torch.zeros_like(weight_of(pool)) for pool in self._pools]
        if self.rule.memory:
            return [getattr(self, f"mean{number}") for number in range(len(self._pools))]
        heard = self._heard(progress)
        return heard if bool(torch.stack([gradient.isfinite().all() for gradient in heard]).all()) else None

    @torch.no_grad()
    def _update(self, progress: Progress, end: float) -> bool:
        """Drops and grows; False where it has to wait."""
        gradients = self._asked_for(progress)
        if gradients is None:
            return False
        pairs = zip(self._pools, gradients, strict=True)
        chosen = [(pool, gradient) for pool, gradient in pairs if weight_of(pool).requires_grad]
        layers = [_layer(pool, gradient) for pool, gradient in chosen]
        generator = torch.Generator().manual_seed(derived("regrow", self.seed, progress.step))
        for (pool, _), units in zip(chosen, self.rule(layers, progress.step / end, generator), strict=True):
            weight, before = weight_of(pool), _keep(pool).clone()
            pool.write(units)
            changed = _keep(pool) != before
            weight.masked_fill_(changed, 0)
            for value in progress.optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    value.masked_fill_(changed, 0)
        return True

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._due, self._over = bool(self.due), bool(self.over)
        self._listen()


def weight_of(pool: Pool) -> Tensor:
    """The parameter under the chain of ``pool``'s weight."""
    module, name, _ = pool.reads("weight")[0]
    found: Tensor = module.parametrizations[name].original  # type: ignore[index, union-attr]
    return found


def _keep(pool: Pool) -> Tensor:
    keep: Tensor = pool.gates[0].keep  # type: ignore[assignment]
    return keep


def _layer(pool: Pool, gradient: Tensor) -> Layer:
    name = pool.reads("weight")[0][2]
    weight = torch.where(_keep(pool), weight_of(pool), 0)
    size, total, slope = (pool.saliency({name: value}) for value in (weight.abs(), weight, gradient.abs()))
    return Layer(live=pool.kept, weight=torch.where(total < 0, -size, size), gradient=slope)
