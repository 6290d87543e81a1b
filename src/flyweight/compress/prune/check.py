"""What scores, structures, distributions and schedules are, which go together, and why the others do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flyweight.compress.prune.plan import HEARD
from flyweight.core.errors import FlyweightError
from flyweight.core.takes import takes

PASSING = ("curvature", "inputs", "gram")
"""Evidence that only passes over the calibration set give."""
_ONLY_TRAINING = ("movement", "momentum")
_OF_WEIGHTS = ("elements", "blocks", "n:m")


@dataclass(frozen=True)
class Axes:
    """What the rules ask of a step's four axes."""

    score: Any
    structure: Any
    distribution: Any
    schedule: Any
    ratio: float

    @property
    def units(self) -> str:
        """What the structure takes away; a structure of the user's own need not say."""
        return getattr(self.structure, "units", "")

    @property
    def measures(self) -> bool:
        """Whether the distribution runs the model."""
        return bool(getattr(self.distribution, "measures", False))

    def needs(self, *fields: str) -> bool:
        """Whether the score asks for one of ``fields``."""
        return any(field in self.score.needs for field in fields)


_Rule = tuple[Callable[[Axes], bool], str]

_RULES: tuple[_Rule, ...] = (
    (
        lambda a: a.score.reads == "norm" and a.units not in ("channels", ""),
        (
            "{score} scores channels by their batch-norm, and {structure} takes away {units}. Use "
            "structure=channel(), or score=magnitude()."
        ),
    ),
    (
        lambda a: a.needs(*_ONLY_TRAINING) and not a.schedule.in_training,
        (
            "{score} reads what only training tells, and {schedule} prunes without it. Use schedule=cubic() and a "
            "Train after this step, or score=taylor()."
        ),
    ),
    (
        lambda a: a.needs(*PASSING) and a.schedule.in_training,
        (
            "{score} reads {needs}, found by passes over the calibration set, and {schedule} prunes in the midst of "
            "training. Use schedule=one_shot() or iterative(rounds=5, train=Train(epochs=1)), or score=taylor()."
        ),
    ),
    (
        lambda a: hasattr(a.score, "compensate") and a.units not in (*_OF_WEIGHTS, ""),
        (
            "{score} changes the weights that stay for each that goes, and {structure} takes away {units}. Use "
            "structure=element(), block() or n_m(), or score=obd()."
        ),
    ),
    (
        lambda a: getattr(a.score, "greedy", False) and a.units == "blocks",
        (
            "{score} takes weights away one by one, and {structure} takes away several at once. Use greedy=False, or "
            "structure=element()."
        ),
    ),
    (
        lambda a: a.units == "layers" and a.schedule.in_training and a.needs(*HEARD),
        (
            "{score} hears the gradients of masked weights, and {structure} masks none. Use score=magnitude(), or "
            "schedule=one_shot() with score=taylor()."
        ),
    ),
    (
        lambda a: a.units == "n:m" and abs(a.ratio - a.structure.ratio) > 1e-9,
        (
            "{structure} removes the fraction 1 − n/m, and the ratio is {ratio}. Use ratio={structure_ratio:.6g}, or "
            "structure=element() for any ratio."
        ),
    ),
    (
        lambda a: a.units == "n:m" and type(a.distribution).__name__ != "uniform",
        (
            "{structure} removes the same fraction from every layer, and {distribution} shares it out otherwise. Use "
            "distribution=uniform(), or structure=element()."
        ),
    ),
    (
        lambda a: a.measures and a.schedule.in_training and a.needs(*_ONLY_TRAINING),
        (
            "{distribution} tries each layer before training, when {score} knows nothing yet. Use "
            "distribution=uniform() or global_(), or score=taylor()."
        ),
    ),
)


@dataclass(frozen=True)
class _Role:
    """What a field's plug is called with and tells of itself, and the ``way`` out where another stands there."""

    arguments: int
    tells: tuple[str, ...]
    way: str

    def fits(self, value: Any) -> bool:
        """Whether ``value`` can play it."""
        return takes(value, self.arguments) and all(hasattr(value, name) for name in self.tells)


_ROLES = {
    "score": _Role(1, ("needs", "reads"), "a score, as in score=magnitude()"),
    "structure": _Role(3, (), "a structure, as in structure=channel(round_to=8)"),
    "distribution": _Role(4, (), "a distribution, as in distribution=uniform()"),
    "schedule": _Role(1, ("in_training",), "a schedule, as in schedule=cubic(end=0.75)"),
}


def check_plugs(step: Any) -> None:
    """Raises :class:`FlyweightError` where a field of ``step`` holds what cannot stand there: a name, another axis."""
    for name, role in _ROLES.items():
        value = getattr(step, name)
        if not role.fits(value):
            meant = next((f"{other}={value!r}" for other, its in _ROLES.items() if its.fits(value)), "")
            raise FlyweightError(
                f"FlyweightError: Prune got {name}={value!r}. Give {role.way}"
                f"{f'; or did you mean {meant}?' if meant else '.'}"
            )


def check_axes(axes: Axes) -> None:
    """Raises :class:`FlyweightError` for axes that do not go together, with the reason and the way out."""
    for broken, text in _RULES:
        if broken(axes):
            told = text.format(
                score=axes.score,
                structure=axes.structure,
                distribution=axes.distribution,
                schedule=axes.schedule,
                ratio=axes.ratio,
                units=axes.units,
                needs=" and ".join(need for need in axes.score.needs if need in PASSING),
                structure_ratio=getattr(axes.structure, "ratio", 0.0),
            )
            raise FlyweightError(f"FlyweightError: Prune can't take this: {told}")
