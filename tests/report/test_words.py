"""Recipes in words, from the JSON that our steps write."""

from __future__ import annotations

from typing import Any

import pytest

from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.lottery import LotteryTicket
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.regrow.regrow import Regrow
from flyweight.compress.prune.regrow.static import static
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.n_m import n_m
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
        ((Prune(0.9),), "90 % of weights pruned (magnitude)"),
        (
            (Prune(0.875, taylor(), block(16), global_(), cubic(), ("head",)), Train(epochs=3)),
            "87.5 % of 16×1 blocks pruned (taylor, global, cubic, whole: head) → trained 3 epochs",
        ),
        ((Prune(0.5, structure=n_m()),), "50 % of weights, 2:4, pruned (magnitude)"),
        (
            (Prune(0.5, structure=channel(round_to=8)),),
            "50 % of channels pruned (magnitude, in multiples of 8)",
        ),
        ((Prune(0.5, structure=channel()), Remove()), "50 % of channels pruned (magnitude) → what is zero removed"),
        ((Remove(exclude=("stem",)),), "remove (exclude [stem])"),
        ((Regrow(0.9),), "90 % sparse, RigL"),
        ((Regrow(0.8, rule=static(), block=(4, 1), seed=2),), "80 % sparse in 4×1 blocks, static (seed 2)"),
        (
            (LotteryTicket(0.9, Train(epochs=5), rewind=500),),
            "lottery ticket of 10 %, rewound to step 500, each round trained 5 epochs",
        ),
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
