"""Shrunk ≡ masked on every family, under every score: never empty, never mis-shaped, exported, and really smaller."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

import texts
import zoo
from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.distributions.uniform import uniform
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.scores.activation import activation
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.momentum import momentum
from flyweight.compress.prune.scores.movement import movement
from flyweight.compress.prune.scores.norm_scale import norm_scale
from flyweight.compress.prune.scores.obd import obd
from flyweight.compress.prune.scores.random import random
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.head import head
from flyweight.core.errors import UnsupportedError
from flyweight.core.recipe import run
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.testing.check_step import check_step

SCORES = {
    "magnitude": magnitude(),
    "random": random(),
    "taylor": taylor(),
    "obd": obd(),
    "activation": activation(),
    "norm_scale": norm_scale(),
}
FAMILIES = sorted({*zoo.KINDS, "minilm"} - {"lstm"})
NO_NORM = {"convnext", "minilm", "vit"}
"""Families without batch-norm, of which its scale can tell nothing."""


def _task(name):
    return texts.token_task() if name == "minilm" else zoo.zoo_task(name)


def _meaningful(name, score):
    return not (score == "norm_scale" and name in NO_NORM) and not (score == "activation" and name == "unet")


def _held(task, step):
    """Masks by ``step``, takes out what is masked, and holds the two to each other; returns both."""
    masked = step(task.model, task)
    shrunk = Remove()(masked, task)
    inputs = task.inputs(task.data.train.tensors)
    with torch.no_grad():
        wanted, got = masked(*inputs), shrunk(*inputs)
    assert got.shape == task.model(*inputs).shape
    scale = wanted.abs().max().item()
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5 * max(1.0, scale))
    assert got.isfinite().all()
    _whole(shrunk)
    return masked, shrunk


def _whole(model):
    """No layer is empty, and what a layer says of its shape is its weights' shape."""
    for name, parameter in model.named_parameters():
        assert parameter.numel() > 0, name
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups), name
        elif isinstance(module, nn.Linear):
            assert module.weight.shape == (module.out_features, module.in_features), name
        elif isinstance(module, nn.BatchNorm2d):
            assert module.running_mean.shape == module.weight.shape == (module.num_features,), name


def _count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_half_of_the_channels_leave(name):
    """Of every family, under the scores in turn."""
    fit = [score for score in SCORES if _meaningful(name, score)]
    task = _task(name)
    masked, shrunk = _held(task, Prune(0.5, score=SCORES[fit[FAMILIES.index(name) % len(fit)]], structure=channel()))
    assert _count(shrunk) < 0.9 * _count(task.model)
    inputs = task.inputs(task.data.train.tensors)
    assert masked(*inputs).std(0).max() > 0, "a network that says the same of all proves nothing"
    assert not any(parametrize.is_parametrized(m) for m in shrunk.modules() if isinstance(m, nn.BatchNorm2d))


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    st.sampled_from(["mobilenet_v2", "resnet", "se_resnet", "survey_cnn", "vgg"]),
    st.floats(0.1, 0.9),
    st.sampled_from(sorted(SCORES)),
    st.sampled_from([uniform(), global_()]),
    st.sampled_from([1, 4]),
)
def test_any_share_leaves(name, ratio, score, distribution, round_to):
    step = Prune(ratio, score=SCORES[score], structure=channel(round_to=round_to), distribution=distribution)
    _, shrunk = _held(_task(name), step)
    if round_to == 4 and name == "vgg":
        assert all(m.out_channels % 4 == 0 for m in shrunk.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("name", ["minilm", "vit"])
@pytest.mark.parametrize("ratio", [0.4, 0.9])
def test_heads_leave_and_one_stays(name, ratio):
    task = _task(name)
    _, shrunk = _held(task, Prune(ratio, structure=head()))
    if name == "vit":
        rows = [shrunk.blocks[i].attention.qkv.out_features for i in range(2)]
        assert all(48 <= r < 144 and r % 48 == 0 for r in rows)
    assert _count(shrunk) < _count(task.model)


def test_lstms_are_refused_by_name():
    """Its gates share each unit, and torch keeps them in one weight: the trace does not know it, so nothing is lost."""
    task = _task("lstm")
    with pytest.raises(UnsupportedError, match=r"LSTM has no channels .*lstm of layer 'lstm' is not known"):
        Prune(0.5, structure=channel())(task.model, task)


@pytest.mark.parametrize(
    ("name", "score", "text"),
    [
        ("vit", norm_scale(), r"finds nothing in VisionTransformer that norm_scale\(\) can score"),
        ("unet", activation(), r"'grow\.0\.weight', .*ConvTranspose2d, multiplies no matrix"),
    ],
)
def test_what_a_score_cannot_see_is_refused_by_name(name, score, text):
    task = _task(name)
    with pytest.raises(UnsupportedError, match=text):
        Prune(0.5, score=score, structure=channel())(task.model, task)


def test_what_a_score_cannot_see_may_be_left_out():
    step = Prune(0.5, score=activation(), structure=channel(), exclude=("grow.*",))
    task = _task("unet")
    _, shrunk = _held(task, step)
    assert [m.out_channels for m in shrunk.grow] == [m.out_channels for m in task.model.grow]
    assert _count(shrunk) < _count(task.model)


@pytest.mark.parametrize("name", [n if n == "unet" else pytest.param(n, marks=pytest.mark.slow) for n in FAMILIES])
def test_the_contract(name):
    """Saved and loaded, exported, in agreement with its file, and fewer operations in it."""
    check_step(Remove(), _task(name), after=(Prune(0.5, structure=channel()),), promises="macs")


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.7, 0.9])
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_score_at_every_ratio(name, score, ratio):
    if not _meaningful(name, score):
        pytest.skip("refused with a reason")
    task = _task(name)
    for distribution in (uniform(), global_()):
        _, shrunk = _held(task, Prune(ratio, score=SCORES[score], structure=channel(), distribution=distribution))
        assert _count(shrunk) < _count(task.model)


@pytest.mark.slow
@pytest.mark.parametrize("score", [movement(), momentum()], ids=["movement", "momentum"])
@pytest.mark.parametrize("name", FAMILIES)
def test_what_training_tells_at_every_ratio(name, score):
    for ratio in (0.2, 0.5, 0.9):
        task = _task(name)
        train = Train(epochs=2, optimizer=adam(lr=1e-3), batch_size=4)
        step = Prune(ratio, score=score, structure=channel(), schedule=cubic(every=0.1))
        masked = run([step, train], task.model, task)
        shrunk = Remove()(masked, task)
        inputs = task.inputs(task.data.train.tensors)
        torch.testing.assert_close(shrunk(*inputs), masked(*inputs), rtol=1e-4, atol=1e-4)
        _whole(shrunk)
        assert _count(shrunk) < _count(task.model)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(zoo.KINDS.keys() - {"lstm"}))
@pytest.mark.parametrize("ratio", [0.3, 0.9])
def test_at_full_size(name, ratio):
    size = {"convnext": (1, 64, 64), "vit": (1, 28, 28), "unet": (1, 32, 32)}.get(name, (1, 28, 28))
    task = zoo.full_task(name, size)
    _held(task, Prune(ratio, structure=channel(), distribution=global_()))
