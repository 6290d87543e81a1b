"""What a file costs, measured in fresh processes: public as ``fw.measure``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.core.artifact import Artifact
from flyweight.core.footprint import Footprint
from flyweight.deploy.runtimes.open import runtime_name
from flyweight.measure.footprint import footprints

if TYPE_CHECKING:
    from flyweight.measure.session import Array


def measure(
    artifact: Artifact | Path | str,
    *,
    baseline: Artifact | Path | str | None = None,
    runtime: str = "onnxruntime",
    threads: int = 1,
    batch: int = 1,
    seconds: float = 1.0,
    inputs: Sequence[Array] | None = None,
    meter: str | None = None,
) -> Footprint:
    """The footprint of any ``.onnx`` file; no task is needed, inputs are made from the shapes that it names.

    With a ``baseline`` the two are timed in turns in one process, and ``speedup`` compares them. ``runtime`` is
    ``"onnxruntime"``, ``"openvino"``, or ``module:function`` of your own; ``meter`` is the dotted name of a function
    that returns joules, for machines without a counter. Raises :class:`ArtifactError` for a file that is missing or
    damaged, :class:`ShapeError` for one whose inputs cannot be made up (give ``inputs``, one array an input).
    """
    (found,) = footprints(
        [_path(artifact)],
        runtime=runtime_name(runtime),
        baseline=None if baseline is None else _path(baseline),
        threads=threads,
        batch=batch,
        seconds=seconds,
        inputs=inputs,
        meter=meter,
    )
    return found


def _path(artifact: Artifact | Path | str) -> Path:
    return Path(artifact.path if isinstance(artifact, Artifact) else artifact)
