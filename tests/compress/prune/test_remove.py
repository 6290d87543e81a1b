"""The step that takes what is masked out of the model."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import tiny
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.head import head
from flyweight.compress.prune.structures.layer import layer
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.sparsify.l0_gates import L0Gates
from flyweight.compress.sparsify.settle import Settle
from flyweight.core.errors import UnknownNameError, UnsupportedError
from flyweight.core.key import model_key
from flyweight.core.recipe import run
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.learn.train import Train
from flyweight.models.resnet import resnet
from flyweight.models.vit import vit
from flyweight.surgery.skip import Skip
from flyweight.testing.check_step import check_step

CHANNELS = Prune(0.5, structure=channel())


def _with(model: nn.Module) -> Task:
    return dataclasses.replace(tiny.task(), model=model.eval(), example=(torch.zeros(2, 1, 8, 8),), family=None)


def test_it_keeps_the_contract_and_saves_macs(tiny_task: Task) -> None:
    check_step(Remove(), tiny_task, after=(CHANNELS,), identity=Remove(), promises="macs")


@pytest.mark.slow
def test_residual_channels_leave(residual_task: Task) -> None:
    check_step(Remove(), residual_task, after=(CHANNELS,), promises="parameters")


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    [
        (Prune(0.5),),
        (Prune(0.4), CHANNELS),
        (CHANNELS, Remove(), Prune(0.6), Prune(0.6, structure=channel())),
        (Prune(0.5, structure=channel(), schedule=cubic()), Train(epochs=1)),
        (CHANNELS, Quantize(activations=None)),
        (CHANNELS, Quantize()),
        (CHANNELS, Quantize(aware=Aware())),
    ],
    ids=["elements", "both", "twice", "in-training", "weights", "integers", "aware"],
)
def test_it_keeps_the_contract_behind_other_steps(before: tuple[object, ...], tiny_task: Task) -> None:
    check_step(Remove(), tiny_task, after=before)


@pytest.mark.slow
@pytest.mark.parametrize("step", [Quantize(), Quantize(aware=Aware()), Prune(0.5), CHANNELS, Train(epochs=1)], ids=str)
def test_other_steps_keep_the_contract_behind_it(step: object, tiny_task: Task) -> None:
    check_step(step, tiny_task, after=(CHANNELS, Remove()))


@pytest.mark.slow
def test_heads_neurons_and_layers_leave() -> None:
    both = (Prune(0.5, structure=head()), Prune(0.5, structure=channel()))
    check_step(Remove(), _with(vit(0.125, 2, 4, 4, 1, 8, patch=4)), after=both, promises="macs")
    both = (Prune(0.4, structure=layer()), CHANNELS)
    check_step(Remove(), _with(resnet(14, 0.25, 4, 1)), after=both, promises="macs")


HEADS = Prune(0.5, structure=head())


@pytest.mark.parametrize(
    "before",
    [(HEADS, Quantize(aware=Aware()), Train(epochs=1)), (Quantize(), HEADS)],
    ids=["pruned first", "quantized first"],
)
def test_heads_leave_before_and_after_quantization(before: tuple[Step, ...]) -> None:
    task = _with(vit(0.125, 2, 4, 4, 1, 8, patch=4))
    check_step(Remove(), task, after=before)
    smaller = run((*before, Remove()), task.model, task)
    rows = [len(m.layer.weight) for n, m in smaller.named_modules() if n.endswith("qkv")]
    whole = [len(m.weight) for n, m in task.model.named_modules() if n.endswith("qkv")]
    assert rows == [n // 2 for n in whole] and len(rows) == 2


def test_layers_leave_with_their_gates() -> None:
    task = _with(resnet(14, 0.25, 4, 1))
    masked = Prune(0.4, structure=layer())(task.model, task)
    smaller = Remove()(masked, task)
    assert any(isinstance(m, Skip) for m in masked.modules()) and not any(
        isinstance(m, Skip) for m in smaller.modules()
    )
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in masked.parameters())
    images = tiny.images(4, 9).tensors[0]
    torch.testing.assert_close(smaller(images), masked(images))


def test_without_dead_units_nothing_changes(tiny_task: Task) -> None:
    assert model_key(Remove()(tiny_task.model, tiny_task)) == model_key(tiny_task.model)


def test_what_is_excluded_stays_and_the_rest_goes(tiny_task: Task) -> None:
    masked = CHANNELS(tiny_task.model, tiny_task)
    smaller = Remove(exclude=("0",))(masked, tiny_task)
    assert smaller[0].out_channels == 8 and smaller[4].out_channels == 8 and smaller[9].in_features == 32
    with pytest.raises(UnknownNameError, match=r"no module of Sequential matches 'stem'"):
        Remove(exclude=("stem",))(masked, tiny_task)


def test_it_waits_for_a_training_that_decides(tiny_task: Task) -> None:
    planned = Prune(0.5, structure=channel(), schedule=cubic())(tiny_task.model, tiny_task)
    with pytest.raises(UnsupportedError, match=r"Plan at '0' has yet to decide in training \(ratio=0.5.*Take Train\("):
        Remove()(planned, tiny_task)


def test_it_waits_for_gates_to_settle(tiny_task: Task) -> None:
    gated = L0Gates(exclude=("0",))(tiny_task.model, tiny_task)
    with pytest.raises(UnsupportedError, match=r"Gate on '4.weight' still learns. Put Settle\(\) before Remove\(\)"):
        Remove()(gated, tiny_task)
    assert model_key(Remove()(Settle()(gated, tiny_task), tiny_task)) == model_key(tiny_task.model)


def test_an_lstm_is_left_whole() -> None:
    from flyweight.models.lstm import lstm

    task = _with(nn.Sequential(nn.Flatten(1, 2), lstm(2, 0.125, 4, 8)))
    assert model_key(Remove()(task.model, task)) == model_key(task.model)
