"""The step that searches a lottery ticket: train, prune, go back to the start, again and again."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from flyweight.compress.prune.distributions.earliest import check_ratio
from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.reached import gone, tell_reached
from flyweight.core.crew import agreed, crew
from flyweight.core.data_check import check_data
from flyweight.core.errors import FlyweightError
from flyweight.core.notes import noted
from flyweight.core.step import Recipe, Step
from flyweight.core.store import scratch
from flyweight.core.task import Task
from flyweight.core.weights import load_state, save_state
from flyweight.learn.epoch_steps import epoch_steps
from flyweight.learn.randomness import derived
from flyweight.learn.stretch import check_stretched, stretch
from flyweight.learn.train import Train
from flyweight.surgery.mask import Mask

_EACH_ROUND = 0.2
"""The part of what remains that a round takes, where the number of rounds is not given."""


@dataclass(frozen=True)
class LotteryTicket(Step):
    """A small network that trains as well as the large one did: its masks are found by training, its weights are early.

    ``rounds`` times: trains by ``train``, takes the same fraction 1 − (1 − ratio)^(1/rounds) of what remains, and sets
    all that remains back to what it was; then trains the ticket, which is the result. So it takes ``rounds`` + 1
    trainings. By default there are as many rounds as take 20 % each, the last step being no larger: the least n with
    1 − 0.8ⁿ ≥ ratio.

    Weights, biases and batch-norm go back to the model that comes in, or, with ``rewind``, to what the dense network
    was after so many optimizer steps of ``train`` (a few hundred, in the paper; an epoch is ⌈examples / batch size⌉ of
    them): these are trained once, and each round trains the steps that remain, on the examples, at the learning rates
    and with the random numbers that those have in ``train``. What an optimizer remembers of gradients does not go
    back: each stretch begins with a new one, as in the authors' code (open_lth), for a ticket is weights and masks
    alone, and a momentum at that step was of a network of which most is gone.

    With ``control`` the last training starts from chance instead, under the same masks: from the first values of each
    parameter in a random order, which is another draw from its initial distribution, whatever that is (constants stay),
    and for all steps. ``by`` says what goes in a round, by score, structure, distribution and exclusions; its own ratio
    is not asked.

    Inside a store each round is kept, and a killed run repeats none that was finished. Raises :class:`FlyweightError`
    for settings that do not fit each other, and, before any training, where ``train`` has no step ``rewind`` or the
    task's loop cannot begin at one.
    Source: Frankle and Carbin 2019, arXiv 1803.03635, section 1; rewinding: Frankle, Dziugaite, Roy and Carbin 2020,
    arXiv 1912.05671, section 4.
    """

    ratio: float
    train: Train
    rounds: int | None = None
    rewind: int = 0
    control: bool = False
    by: Prune = Prune(0.0, distribution=global_())  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        check_ratio(self.ratio)
        if not isinstance(self.train, Train):
            raise _wrong(
                "train", self.train, "Give the training that each round repeats, as in train=Train(epochs=10)."
            )
        if self.rounds is not None and not _whole(self.rounds, 1):
            raise _wrong("rounds", self.rounds, "Give a whole number, 1 or more, or None: rounds of 20 %.")
        if not _whole(self.rewind, 0):
            raise _wrong(
                "rewind", self.rewind, "Give an optimizer step to go back to, as in rewind=500, or 0: the start."
            )
        if not isinstance(self.by, Prune) or getattr(self.by.schedule, "train", True) is not None:
            raise _wrong("by", self.by, "Give a Prune(0.0, …) that prunes at once; the rounds are the schedule.")

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        self._check_rewind(task)
        model = self.by.replay(model, task, {})
        pools = self._pools(model, task)
        gates, before = _gates(model, pools), gone(pools, self.by.distribution)
        first = _values(model, gates)
        early = self._early(model, task, gates) if self.rewind else first
        ratios = self.ratios()
        done = agreed(max((n for n in range(1, len(ratios) + 1) if _kept(f"round-{n}")), default=0))
        if done:
            _set(model, _load(f"round-{done}"))
        for number in range(done, len(ratios)):
            _set(model, early)
            model = stretch(model, task, self.train, self.rewind)
            with noted():  # what the last round misses is told below, once
                model = dataclasses.replace(self.by, ratio=ratios[number]).edit(model, task)
            _keep(f"round-{number + 1}", {n: t for n, t in model.state_dict().items() if _inside(n, gates)})
        tell_reached(self._pools(model, task), self.ratio, self.by.distribution, before)
        _set(model, first if self.control else early)
        if self.control:
            self._shuffle(model)
        return stretch(model, task, self.train, 0 if self.control else self.rewind)

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        return self.by.replay(model, task, state)

    def teachers(self) -> tuple[Recipe, ...]:
        """Those of the training."""
        return self.train.teachers()

    def ratios(self) -> tuple[float, ...]:
        """What is gone after each round: 1 − (1 − ratio)^(i/rounds), the last one ``ratio`` itself."""
        rounds = self.rounds
        if rounds is None:
            # 0.36 is a little above two rounds in floats, and means two.
            rounds = math.ceil(math.log(1 - self.ratio) / math.log(1 - _EACH_ROUND) - 1e-9)
        return tuple(1 - (1 - self.ratio) ** (i / rounds) if i < rounds else self.ratio for i in range(1, rounds + 1))

    def _check_rewind(self, task: Task) -> None:
        if not self.rewind:
            return
        check_data(task.data.train, task.example, f"task {task.name!r}: data.train")
        train, examples = self.train, len(cast(Sized, task.data.train))
        each = epoch_steps(examples, train.batch_size)
        if self.rewind >= train.epochs * each:
            raise _wrong(
                "rewind",
                self.rewind,
                f"Its training has {train.epochs * each} optimizer steps: {train.epochs} epochs of {each} ({examples} "
                f"examples of task {task.name!r}, {train.batch_size} a step). Give a step before the last, or 0.",
            )
        check_stretched(task)

    def _pools(self, model: nn.Module, task: Task) -> list[Pool]:
        found = self.by.structure(model, task, self.by.exclude)
        return [pool for pool in found if pool.reads(self.by.score.reads)]

    def _early(self, model: nn.Module, task: Task, gates: Sequence[str]) -> dict[str, Tensor]:
        """The values after the steps that are never repeated."""
        if not agreed(_kept("rewound")):
            model = stretch(model, task, self.train, 0, self.rewind)
            values = _values(model, gates)
            _keep("rewound", values)
            return values
        return _load("rewound")

    @torch.no_grad()
    def _shuffle(self, model: nn.Module) -> None:
        """Puts each parameter's values into a random order."""
        for name, parameter in model.named_parameters():
            draw = torch.Generator().manual_seed(derived("lottery", self.train.seed, name))
            order = torch.randperm(parameter.numel(), generator=draw).to(parameter.device)
            parameter.copy_(parameter.reshape(-1)[order].reshape(parameter.shape))


def _gates(model: nn.Module, pools: Sequence[Pool]) -> tuple[str, ...]:
    """How names of what rounds leave as it is begin: a mask's all, and the switch alone of a gate round a layer."""
    held = {id(gate) for pool in pools for gate in pool.gates}
    return tuple(
        f"{name}." if isinstance(module, Mask) else f"{name}.keep"
        for name, module in model.named_modules(remove_duplicate=False)
        if id(module) in held
    )


def _values(model: nn.Module, gates: Sequence[str]) -> dict[str, Tensor]:
    """All that training changes: parameters and buffers, without what is kept of them."""
    return {name: value.detach().clone() for name, value in model.state_dict().items() if not _inside(name, gates)}


def _inside(name: str, gates: Sequence[str]) -> bool:
    return name.startswith(tuple(gates))


def _set(model: nn.Module, values: Mapping[str, Tensor]) -> None:
    model.load_state_dict(dict(values), strict=False)


def _path(name: str) -> Path | None:
    folder = scratch()
    return None if folder is None else folder / f"{name}.safetensors"


def _kept(name: str) -> bool:
    path = _path(name)
    return path is not None and path.exists()


def _load(name: str) -> dict[str, Tensor]:
    path = _path(name)
    assert path is not None
    return load_state(path)


def _keep(name: str, values: Mapping[str, Tensor]) -> None:
    path = _path(name)
    if path is not None and crew()[0] == 0:
        save_state(values, path)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _wrong(name: str, value: Any, way: str) -> FlyweightError:
    return FlyweightError(f"FlyweightError: LotteryTicket got {name}={value!r}. {way}")
