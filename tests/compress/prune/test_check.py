import pytest

from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.distributions.sensitivity import sensitivity
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.compress.prune.scores.activation import activation
from flyweight.compress.prune.scores.movement import movement
from flyweight.compress.prune.scores.norm_scale import norm_scale
from flyweight.compress.prune.scores.obd import obd
from flyweight.compress.prune.scores.obs import obs
from flyweight.compress.prune.scores.random import random
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.block import block
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.prune.structures.head import head
from flyweight.compress.prune.structures.layer import layer
from flyweight.compress.prune.structures.n_m import n_m
from flyweight.core.errors import FlyweightError

REFUSED = [
    (
        {"score": norm_scale()},
        (
            r"norm_scale\(\) scores channels by their batch-norm, and element\(first=False\) takes away elements. Use "
            r"structure=channel\(\), or score=magnitude\(\)."
        ),
    ),
    ({"score": norm_scale(), "structure": head()}, "takes away heads. Use structure=channel"),
    (
        {"score": movement()},
        (
            r"reads what only training tells, and one_shot\(\) prunes without it. Use schedule=cubic\(\) and a Train "
            r"after this step, or score=taylor\(\)."
        ),
    ),
    ({"score": movement(), "schedule": iterative()}, "reads what only training tells, and iterative"),
    (
        {"score": obd(), "schedule": cubic()},
        (
            "reads curvature, found by passes over the calibration set, and cubic.* prunes in the midst of training. "
            "Use schedule=one_shot"
        ),
    ),
    ({"score": activation(), "schedule": cubic()}, "reads inputs, found by passes"),
    (
        {"score": obs(), "structure": channel()},
        "changes the weights that stay for each that goes, and channel.* takes away channels. Use structure=element",
    ),
    (
        {"score": obs(greedy=True), "structure": block()},
        "one by one, and block.* takes away several at once. Use greedy=",
    ),
    ({"score": obs(), "schedule": cubic()}, "reads gram, found by passes"),
    (
        {"score": taylor(), "structure": layer(), "schedule": cubic()},
        (
            r"hears the gradients of masked weights, and layer\(blocks=\(\)\) masks none. Use score=magnitude\(\), or "
            r"schedule=one_shot\(\)"
        ),
    ),
    (
        {"structure": n_m(1, 4)},
        r"removes the fraction 1 − n/m, and the ratio is 0.5. Use ratio=0.75, or structure=element\(\) for any ratio.",
    ),
    (
        {"structure": n_m(2, 4), "distribution": global_()},
        r"removes the same fraction from every layer, and global_.* shares it out otherwise. Use distribution=uniform",
    ),
    (
        {"score": movement(), "distribution": sensitivity(), "schedule": cubic()},
        r"tries each layer before training, when movement.* knows nothing yet. Use distribution=uniform\(\) or global_",
    ),
]

MEANINGFUL = [
    {"score": norm_scale(), "structure": channel(), "distribution": global_()},
    {"score": norm_scale(), "structure": channel(), "schedule": cubic()},
    {"score": movement(), "structure": block(4, 1), "schedule": cubic()},
    {"score": obs(), "structure": n_m(2, 4)},
    {"score": obs(), "structure": block(4, 4), "schedule": iterative()},
    {"score": obs(), "schedule": iterative()},
    {"score": obd(), "structure": channel(), "schedule": iterative()},
    {"score": random(), "structure": layer(), "schedule": cubic()},
    {"score": taylor(), "structure": head(), "distribution": sensitivity(), "schedule": cubic()},
    {"structure": n_m(2, 4), "schedule": cubic()},
]


@pytest.mark.parametrize(("axes", "reason"), REFUSED, ids=lambda x: "")
def test_axes_that_do_not_go_together_are_refused_with_the_reason_and_the_way_out(axes, reason):
    with pytest.raises(FlyweightError, match=f"Prune can't take this: .*{reason}"):
        Prune(0.5, **axes)


@pytest.mark.parametrize("axes", MEANINGFUL, ids=lambda x: "")
def test_the_others_are_taken(axes):
    Prune(0.5, **axes)


def test_fields_are_checked():
    with pytest.raises(FlyweightError, match="ratio=1 is no fraction to remove. Give 0 or more and less than 1"):
        Prune(1)
    with pytest.raises(
        FlyweightError, match=r"Prune got structure=<class .*element'>. Give a structure, as in structure="
    ):
        Prune(0.5, structure=element)
    with pytest.raises(
        FlyweightError, match=r"Prune got schedule='cubic'. Give a schedule, as in schedule=cubic\(end="
    ):
        Prune(0.5, schedule="cubic")
    assert Prune(0.5, exclude=["0"]).exclude == ("0",)


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"score": channel()}, r"score=channel.*Give a score, .*did you mean structure=channel\(round_to=1\)\?"),
        ({"structure": taylor()}, r"Give a structure, .* did you mean score=taylor"),
        ({"distribution": cubic()}, r"Give a distribution, .* did you mean schedule=cubic"),
        ({"schedule": global_()}, r"Give a schedule, .* did you mean distribution=global_"),
        ({"score": lambda evidence: evidence.weight}, r"score=<function .*Give a score, as in score=magnitude\(\)\.$"),
        ({"score": "taylor"}, r"score='taylor'. Give a score, as in score=magnitude\(\)\.$"),
    ],
)
def test_a_plug_of_another_axis_is_told_where_it_belongs(axes, told):
    with pytest.raises(FlyweightError, match=told):
        Prune(0.5, **axes)
