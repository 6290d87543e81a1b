"""What a candidate costs, measured on its file before it is trained: structure does not hang on training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from flyweight.compress.prune.schedules.one_shot import one_shot
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.core.artifact import Artifact
from flyweight.core.atomic import atomic_path
from flyweight.core.errors import FlyweightError, StoreError
from flyweight.core.key import recipe_keys
from flyweight.core.notes import noted
from flyweight.core.point import SKETCHED, Point
from flyweight.core.recipe import run
from flyweight.core.serial import to_json
from flyweight.core.step import Step
from flyweight.deploy.export.onnx import export_onnx
from flyweight.learn.train import Train
from flyweight.measure.footprint import Depth
from flyweight.search.accident import accident

if TYPE_CHECKING:
    from flyweight.search.candidate import Candidate
    from flyweight.search.evaluate import Evaluator

_SHOWN = ("size_bytes", "parameters", "macs", "latency_ms")


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """How a candidate is measured untrained: the first ``earnest`` steps of its recipe are taken as they are, the
    training in those after them is left out; ``upto`` says what is measured, ``seconds`` for how long it is timed.

    ``again`` numbers a second look at the same candidate, which is measured anew.
    """

    earnest: int
    upto: Depth = "counts"
    seconds: float = 0.3
    again: int = 0


def sketched(evaluator: Evaluator, candidate: Candidate) -> Point:
    """The row of a ``candidate`` that is only sketched: its footprint, no quality, and a failure that says so.

    What is kept already is not measured again, and the files lie in the store's ``sketches/``; a candidate that was
    tried in earnest is told as it is. Steps after ``earnest`` that prune in several rounds, or in training, prune at
    once here.
    """
    sketch = candidate.sketch
    assert sketch is not None
    kept = evaluator.kept(candidate)
    if kept is not None and (_covers(kept, sketch, evaluator.threads) if _is_sketch(kept) else not accident(kept)):
        return kept
    kept = kept if kept is not None and _is_sketch(kept) else None
    point = Point(
        id=evaluator.identity(candidate),
        label=candidate.label,
        recipe=to_json(candidate.recipe),
        kernels=evaluator.kernels,
    )
    try:
        path = _place(evaluator, kept.id if kept is not None else point.id)
        if kept is None or not path.exists():
            with noted() as notes:
                artifact = _export(evaluator, candidate, sketch.earnest, path)
            point = dataclasses.replace(
                point,
                id=evaluator.identity(candidate, ours=bool(artifact.needs)),
                format=artifact.format,
                bits=artifact.bits,
                notes=(*dict.fromkeys(notes), *artifact.notes),
                needs=artifact.needs,
            )
            path = path.replace(_place(evaluator, point.id))
        else:
            point = kept
        (found,) = evaluator.footprints([path], sketch.seconds, upto=sketch.upto)
    except StoreError:
        raise
    except Exception as error:
        told = str(error) if isinstance(error, FlyweightError) else f"{type(error).__name__}: {error}"
        return evaluator.ledger.keep(dataclasses.replace(point, failure=told))
    found = dataclasses.replace(found, detail={**found.detail, "sketch": [sketch.upto, sketch.again]})
    told = ", ".join(
        f"{name} {value:,.0f}" if isinstance(value, int) else f"{name} {value:.4g}"
        for name in _SHOWN
        if (value := getattr(found, name)) is not None
    )
    return evaluator.ledger.keep(dataclasses.replace(point, footprint=found, failure=f"{SKETCHED}measured at {told}"))


def _place(evaluator: Evaluator, identity: str) -> Path:
    return evaluator.store.folder / "sketches" / f"{identity}.onnx"


def untrained(evaluator: Evaluator, candidate: Candidate, earnest: int = 0) -> nn.Module:
    """The model of ``candidate`` without the training after its first ``earnest`` steps, in evaluation mode."""
    task, recipe = evaluator.task, candidate.recipe
    model = run(recipe[:earnest], task.model, task, evaluator.store)
    keys = recipe_keys(recipe, task.model, task)[earnest + 1 :]
    for step, key in zip(recipe[earnest:], keys, strict=True):
        if isinstance(step, Train):
            continue
        with torch.random.fork_rng():
            torch.manual_seed(int(key[:8], 16))
            model = at_once(step).edit(model, task)
    return model.eval()


def at_once(step: Step) -> Step:
    """``step``, pruning at once where it has a schedule, by magnitude where its score has to hear training."""
    thing: Any = step
    if not hasattr(getattr(step, "schedule", None), "in_training"):
        return step
    heard = {"movement", "momentum"} & set(getattr(getattr(step, "score", None), "needs", ()))
    single: Step = dataclasses.replace(thing, schedule=one_shot(), **({"score": magnitude()} if heard else {}))
    return single


def _export(evaluator: Evaluator, candidate: Candidate, earnest: int, path: Path) -> Artifact:
    model = untrained(evaluator, candidate, earnest)
    with atomic_path(path) as temporary:
        return export_onnx(model, evaluator.task, temporary, kernels=evaluator.kernels)


def _is_sketch(point: Point) -> bool:
    return point.failure is not None and point.failure.startswith(SKETCHED)


_DEPTHS: tuple[Depth, ...] = ("counts", "latency", "memory")


def _covers(point: Point, sketch: Sketch, threads: int) -> bool:
    upto, again = point.footprint.detail.get("sketch", ("counts", -1))
    if sketch.upto != "counts" and point.footprint.detail.get("threads") != threads:
        return False
    return _DEPTHS.index(upto) >= _DEPTHS.index(sketch.upto) and int(again) >= sketch.again
