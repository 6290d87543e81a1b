"""Candidates that cannot keep a budget of bytes whatever they learn, found before they are trained."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from flyweight.compress.prune.distributions.erdos_renyi import erdos_renyi
from flyweight.compress.prune.distributions.fixed import fixed
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.budget import Budget
from flyweight.core.key import recipe_keys
from flyweight.core.notes import noted
from flyweight.core.point import SKIPPED, Point
from flyweight.core.serial import to_json
from flyweight.core.step import Step
from flyweight.deploy.export.onnx import export_onnx
from flyweight.learn.train import Train
from flyweight.models.resize import Resize
from flyweight.search.candidate import Candidate
from flyweight.search.evaluate import Evaluator
from flyweight.search.sketch import untrained

_MARGIN = 1.05
"""How far above its budget an untrained file must be: training changes a few bytes of it, not its structure."""


def spared(evaluator: Evaluator, candidate: Candidate, budgets: Sequence[Budget]) -> Point | None:
    """The row of a ``candidate`` that need not be trained, for its file untrained breaks a budget of ``size_bytes``.

    None, where it may keep them, or nothing is saved: it is the baseline, its training is kept already (as that of a
    teacher is), or a step other than :class:`Resize`, :class:`Quantize`, :class:`Train`, :class:`Remove`, and
    :class:`Prune` by a distribution that asks no weights, may change its bytes.
    """
    limits = [b for b in budgets if b.field == "size_bytes"]
    if not limits or candidate.baseline or not _costly(evaluator, candidate):
        return None
    try:
        size = _untrained_bytes(evaluator, candidate)
    except Exception:  # whatever it is, trying it in earnest tells it
        return None
    tightest = min(limits, key=lambda b: b.limit)
    if size <= _MARGIN * tightest.limit:
        return None
    told = f"{SKIPPED}{size / 1000:.3g} KB untrained exceeds {tightest}"
    recipe = to_json(candidate.recipe)
    point = Point(id=evaluator.identity(candidate), label=candidate.label, recipe=recipe, failure=told)
    return evaluator.ledger.keep(point)


def _costly(evaluator: Evaluator, candidate: Candidate) -> bool:
    recipe, task = candidate.recipe, evaluator.task
    if not all(_foreseen(step) for step in recipe):
        return False
    keys = recipe_keys(recipe, task.model, task)
    kept = evaluator.kept(candidate)
    if kept is not None and kept.failure is None:
        return False
    steps = zip(recipe, keys[1:], strict=True)
    return any(isinstance(step, Train) and not evaluator.store.has(key) for step, key in steps)


def _foreseen(step: Step) -> bool:
    """Whether the bytes that ``step`` leads to do not hang on what was learnt."""
    if isinstance(step, Prune):
        return isinstance(step.distribution, uniform | fixed | erdos_renyi)
    return isinstance(step, Resize | Quantize | Train | Remove)


def _untrained_bytes(evaluator: Evaluator, candidate: Candidate) -> int:
    # What its steps note is told with the candidate itself, if it is made.
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder, noted():
        model = untrained(evaluator, candidate)
        return export_onnx(model, evaluator.task, Path(folder) / "model.onnx").path.stat().st_size
