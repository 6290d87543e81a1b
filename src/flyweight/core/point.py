"""A point: one deployable model, or one candidate that failed and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from flyweight.core.footprint import Footprint

SKIPPED, SKETCHED = "skipped: ", "not trained: "
"""How the reason begins of a candidate that was left out before training: for the bytes of its untrained file; or
since that was only measured, to find the one that is worth training."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """A quality and its 95 % interval (bootstrap over the examples), with the number of examples."""

    value: float
    low: float
    high: float
    examples: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One candidate: how it was made, what it is worth, what it costs.

    ``quality`` is measured in the runtime on the select split and steers every choice; ``report`` on the report
    split, read once, when the search is over. ``recipe`` is JSON. ``path`` is the artifact's, relative to
    the run's folder. ``parity`` tells how artifact and model were compared. A candidate that failed has a ``failure``
    and no quality. ``label`` is short and for people; ``id`` is the recipe's key, or another of its own where the same
    recipe's file runs on the sparse kernels: ``needs`` then tells what opening it takes beside the runtime.
    ``kernels`` says whether layers that gain from them were looked for (``"auto"``) or not (``"none"``).
    """

    id: str
    label: str
    recipe: Any = ()
    path: str | None = None
    format: str = "onnx"
    bits: int = 32
    quality: Score | None = None
    report: Score | None = None
    footprint: Footprint = field(default_factory=Footprint)
    parity: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float | None = None
    failure: str | None = None
    baseline: bool = False
    kernels: str = "none"
    needs: tuple[str, ...] = ()

    @property
    def left_out(self) -> bool:
        """Whether it has no model since it was left out before training, and did not fail."""
        return self.failure is not None and self.failure.startswith((SKIPPED, SKETCHED))

    def value(self, name: str) -> float | None:
        """The measured field ``name``: ``"quality"`` or one of the footprint's."""
        if name == "quality":
            return None if self.quality is None else self.quality.value
        value: float | None = getattr(self.footprint, name)
        return value

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Point:
        """What :meth:`to_json` gave."""
        known = {f.name for f in fields(cls)}
        data = {k: v for k, v in value.items() if k in known}
        data["footprint"] = Footprint.from_json(data.get("footprint") or {})
        for name in ("quality", "report"):
            data[name] = Score(**data[name]) if data.get(name) else None
        for name in ("notes", "needs"):
            data[name] = tuple(data.get(name, ()))
        return cls(**data)
