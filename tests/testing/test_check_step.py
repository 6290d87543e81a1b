"""Every step that ships keeps the contract, alone and in pairs; steps that break a clause are told which."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

import broken_steps as broken
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.compress.quantize.ranges.mse import mse
from flyweight.core.task import Splits
from flyweight.deploy.export.onnx import export_onnx
from flyweight.kernels.library import available
from flyweight.learn.augment.flip import flip
from flyweight.learn.augment.mixup import mixed
from flyweight.learn.augment.translate import translate
from flyweight.learn.distill.distilled import distilled
from flyweight.learn.distill.matched import matched
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.models.resize import Resize
from flyweight.numerics.granularity import per_group
from flyweight.testing.check_step import ContractError, check_pair, check_step


def train(**fields):
    """One epoch of eight small steps: long enough to change every value."""
    return Train(epochs=1, optimizer=adam(lr=1e-3), batch_size=64, **fields)


TRAINED = {
    "plain": train(),
    "augmented": train(augment=(flip(), translate(0.1))),
    "mixed": train(loss=mixed()),
    "distilled": train(loss=distilled()),
    "distilled-mixed": train(loss=mixed(inner=distilled(teachers=((train(),), ()))), augment=(flip(),)),
    "matched": train(loss=matched()),
}
QUANTIZED = {
    "int8": Quantize(),
    "aware": Quantize(aware=Aware()),
    "weights": Quantize(activations=None),
    "int4": Quantize(bits=4),
    "weights-aware": Quantize(activations=None, aware=Aware()),
    "int4-groups": Quantize(bits=4, activations=None, granularity=per_group(3), exclude=("9",)),
    "mse": Quantize(ranges=mse(20)),
}
DEFAULT = ("plain", "augmented", "mixed", "distilled", "weights", "int4")
"""What the default run takes, besides int8 on the residual network and in pairs, aware too; the rest is slow."""


def cases(steps, default):
    return [pytest.param(s, id=n, marks=() if n in default else pytest.mark.slow) for n, s in steps.items()]


def small(task):
    """The task with a quarter of its data: the clauses ask for every one several times over."""
    train = torch.utils.data.TensorDataset(*(t[:128] for t in task.data.train.tensors))
    select = torch.utils.data.TensorDataset(*(t[:64] for t in task.data.select.tensors))
    data = Splits(train=train, calibrate=task.data.calibrate, select=select, report=select)
    return dataclasses.replace(task, data=data)


def linear(task):
    """One layer, which is exported in no time."""
    return dataclasses.replace(small(task), model=nn.Sequential(nn.Flatten(), nn.Linear(64, 4)).eval())


@pytest.mark.parametrize("step", cases(TRAINED, DEFAULT))
def test_training_keeps_the_contract(step, tiny_task):
    check_step(step, small(tiny_task), identity=dataclasses.replace(step, epochs=0))


@pytest.mark.parametrize("step", cases(QUANTIZED, DEFAULT))
def test_quantization_keeps_the_contract_and_makes_the_file_smaller(step, tiny_task):
    check_step(step, small(tiny_task), promises="size_bytes")


def test_resizing_keeps_the_contract_and_makes_the_file_smaller(tiny_task):
    check_step(Resize(0.5), small(tiny_task), promises="size_bytes")


@pytest.mark.parametrize("promises", ["size_bytes", pytest.param("parameters", marks=pytest.mark.slow)])
def test_pruning_keeps_the_contract_and_makes_the_file_smaller(promises, tiny_task):
    check_step(Prune(0.8), small(tiny_task), identity=Prune(0.0), promises=promises)


RESIDUAL = {
    "int8": (Quantize(), "size_bytes"),
    "distilled": (TRAINED["distilled"], None),
    "distilled-mixed": (TRAINED["distilled-mixed"], None),
    "aware": (Quantize(aware=Aware()), "size_bytes"),
    "weights": (Quantize(activations=None), "size_bytes"),
    "int4": (Quantize(bits=4), "size_bytes"),
}


@pytest.mark.parametrize("case", cases(RESIDUAL, ("int8",)))
def test_residual_networks_keep_it_too(case, residual_task):
    step, promises = case
    check_step(step, small(residual_task), promises=promises)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(train(), Quantize(aware=Aware()), id="train-quantize"),
        pytest.param(Resize(0.5), Quantize(), id="resize-quantize"),
        pytest.param(Resize(0.5), train(), id="resize-train"),
        pytest.param(train(loss=distilled()), Quantize(bits=4), id="distil-int4", marks=pytest.mark.slow),
        pytest.param(train(), Quantize(activations=None, aware=Aware()), id="train-weights", marks=pytest.mark.slow),
    ],
)
def test_pairs_keep_the_contract_in_both_orders(first, second, tiny_task):
    check_pair(first, second, small(tiny_task))


@pytest.mark.slow
def test_a_pair_on_a_residual_network(residual_task):
    check_pair(train(loss=distilled()), Quantize(aware=Aware()), small(residual_task))


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (broken.EditsInPlace(), r"EditsInPlace\(\) changed its input model"),
        (broken.EditsTheTask(), r"EditsTheTask\(\) changed the task's model"),
        (broken.NeverTheSame(), r"NeverTheSame\(\) is not repeatable: two equal runs gave other values"),
        (broken.ForgetsOnReplay(), r"ForgetsOnReplay\(\) computes other outputs after loading"),
        (broken.CannotReplay(), r"CannotReplay\(\) cannot be loaded: .*the kept values do not fit the model"),
        (broken.Widens(), r"Widens\(\) changed the outputs from \[\(2, 4\)\] to \[\(2, 5\)\]"),
        (broken.LeavesTraining(), r"LeavesTraining\(\) left the model in train mode, input in mode=False"),
        (broken.Melted(), r"Melted\(\) is no frozen dataclass"),
        (broken.Sprawling(), r"Sprawling\(.*\) has more than six fields"),
        (broken.Unwritable(), r"Unwritable\(.*\) does not come back from JSON as it was"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_step_that_breaks_a_clause_is_told_which(step, told, tiny_task):
    with pytest.raises(ContractError, match=f"ContractError: {told}"):
        check_step(step, linear(tiny_task))


def test_a_promise_that_is_not_kept_is_told_with_both_figures(tiny_task):
    with pytest.raises(ContractError, match=r"Nothing\(\) promises a smaller size_bytes, and it went from (\d+) to \1"):
        check_step(broken.Nothing(), linear(tiny_task), promises="size_bytes")


def test_an_identity_setting_that_is_none_is_told(tiny_task):
    with pytest.raises(ContractError, match=r"Quantize\(bits=2, .*is the identity setting, and outputs changed by"):
        check_step(broken.Nothing(), linear(tiny_task), identity=Quantize(bits=2))


def test_checking_leaves_the_task_as_it_was(tiny_task):
    task = linear(tiny_task)
    before = copy.deepcopy(task.model.state_dict())
    check_step(broken.Nothing(), task, after=(train(),))
    assert all(torch.equal(before[k], v) for k, v in task.model.state_dict().items())
    assert not task.model.training


def test_a_pair_fails_where_one_of_them_does(tiny_task):
    with pytest.raises(ContractError, match=r"NeverTheSame\(\) is not repeatable"):
        check_pair(broken.Nothing(), broken.NeverTheSame(), linear(tiny_task))


@pytest.mark.skipif(not available(), reason="the native kernels are not built")
def test_what_leaves_zeros_is_held_to_the_sparse_kernels_too(tiny_task, monkeypatch):
    asked = []

    def export(model, task, path, kernels="none"):
        asked.append(kernels)
        return export_onnx(model, task, path, kernels=kernels)

    monkeypatch.setattr("flyweight.testing.check_step.export_onnx", export)
    check_step(Prune(0.6, structure=block(4, 1)), tiny_task)
    check_step(Prune(0.1), tiny_task)
    assert asked == ["none", "all", "none"]
