"""Recipes in words, from the JSON that our steps write."""

from __future__ import annotations

from typing import Any

import pytest

from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.quantize.ranges.percentile import percentile
from flyweight.core.serial import to_json
from flyweight.learn.augment.flip import flip
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.augment.translate import translate
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.train import Train
from flyweight.models.resize import Resize
from flyweight.report.words import words

_TEACHER = (Resize(1.4), Train(epochs=2))


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ((), "as it came"),
        ((Train(epochs=1),), "trained 1 epoch"),
        (
            (
                Resize(0.25),
                Train(epochs=15, loss=distilled(temperature=4), augment=(flip(), translate())),
                Quantize(bits=8, aware=Aware()),
                Train(epochs=3),
            ),
            "width 0.25 → trained 15 epochs with flip, translate, distilled (T=4) → int8, aware → 3 epochs",
        ),
        (
            (
                Train(epochs=2, loss=distilled(teachers=(_TEACHER,))),
                Quantize(aware=Aware()),
                Train(epochs=1, loss=distilled(teachers=(_TEACHER,))),
            ),
            (
                "trained 2 epochs with distilled (T=4, teacher: width 1.4 → trained 2 epochs) → int8, aware → "
                "1 epoch with distilled (T=4)"
            ),
        ),
        ((Train(epochs=2, loss=mixed(inner=distilled())),), "trained 2 epochs with mixup, distilled (T=4)"),
        ((Quantize(ranges=percentile()),), "int8, percentile ranges"),
        ((Quantize(bits=4),), "int4 weights, int8 activations"),
        ((Quantize(activations=None),), "int8 weights"),
        ((Quantize(exclude=("head.*",)),), "int8, float: head.*"),
        ((Resize(0.5, seed=3), Train(epochs=2, seed=3)), "width 0.5 (seed 3) → trained 2 epochs (seed 3)"),
    ],
)
def test_our_steps(recipe: tuple[Any, ...], told: str) -> None:
    assert words(to_json(recipe)) == told


def test_steps_that_nobody_knows_are_told_by_their_fields() -> None:
    step = {"use": "mine.PruneHeads", "ratio": 0.5, "score": {"use": "mine.taylor"}, "layers": [1, 2], "deep": None}
    assert words([step]) == "prune heads (ratio 0.5, score taylor, layers [1, 2], deep none)"
    assert words([{"use": "mine.Train", "epochs": 3}]) == "train (epochs 3)"


@pytest.mark.parametrize(
    "odd", [None, "text", 3, [None], [[]], {"no": "use"}, [{"use": "flyweight.learn.train.Train"}]]
)
def test_odd_json_is_told_and_not_raised(odd: Any) -> None:
    assert isinstance(words(odd), str)
