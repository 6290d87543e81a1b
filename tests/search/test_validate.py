"""What is found out about a task before hours are spent on it."""

from __future__ import annotations

import copy
import dataclasses
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Subset, TensorDataset

import arms
from flyweight.core.errors import ArtifactError, ExportError, MetricError, MissingExtraError, TaskError
from flyweight.core.task import Task, batches
from flyweight.search.validate import validate


def changed(task: Task, **splits: Any) -> Task:
    return dataclasses.replace(task, data=dataclasses.replace(task.data, **splits))


def test_passes_a_task_and_leaves_its_model_alone(fresh_task: Task) -> None:
    fresh_task.model.train()
    fresh_task.model[0].eval()
    before = {name: value.clone() for name, value in fresh_task.model.state_dict().items()}
    drawn = torch.random.get_rng_state()
    validate(fresh_task)
    assert all(torch.equal(value, before[name]) for name, value in fresh_task.model.state_dict().items())
    assert fresh_task.model.training
    assert not fresh_task.model[0].training
    assert torch.equal(drawn, torch.random.get_rng_state())
    assert all(p.grad is None for p in fresh_task.model.parameters())


@pytest.mark.parametrize("split", ["train", "calibrate", "select", "report"])
def test_an_empty_split(fresh_task: Task, split: str) -> None:
    with pytest.raises(TaskError, match=rf"task 'tiny-fresh': data\.{split} is empty"):
        validate(changed(fresh_task, **{split: Subset(fresh_task.data.train, [])}))


def test_a_trained_model_needs_no_training_data(tiny_task: Task) -> None:
    validate(changed(tiny_task, train=Subset(tiny_task.data.train, [])))


def test_data_that_do_not_fit_the_example(fresh_task: Task) -> None:
    wrong = TensorDataset(torch.zeros(5, 1, 9, 8), torch.zeros(5, dtype=torch.long))
    with pytest.raises(TaskError) as caught:
        validate(changed(fresh_task, select=wrong))
    text = str(caught.value)
    assert "data.select[0] does not fit `example`: input 0 is a tensor of shape (1, 9, 8) and type float32" in text
    assert "without its batch dimension the example is a tensor of shape (1, 8, 8) and type float32" in text
    assert "its dimension 0 is the batch" in text


def test_data_of_another_type(fresh_task: Task) -> None:
    wrong = TensorDataset(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.zeros(5, dtype=torch.long))
    with pytest.raises(TaskError, match="type uint8"):
        validate(changed(fresh_task, train=wrong))


def test_items_that_are_no_tuples_of_tensors(fresh_task: Task) -> None:
    items: Any = [{"x": 1}] * 3
    with pytest.raises(TaskError, match=r"data\.report\[0\] is \{'x': 1\} \(dict\), and has to be a tuple: "):
        validate(changed(fresh_task, report=items))


@pytest.mark.parametrize("kind", [int, torch.tensor])
def test_targets_that_are_plain_numbers(fresh_task: Task, kind: Any) -> None:
    def listed(split: Any) -> Any:
        return arms.Loaded([(x, kind(int(y))) for x, y in split])

    splits = {name: listed(getattr(fresh_task.data, name)) for name in ("train", "calibrate", "select", "report")}
    task = changed(fresh_task, **splits)
    validate(task)
    assert task.train is not None
    trained = task.train(task.model, task)
    given = fresh_task.train(fresh_task.model, fresh_task)
    for name, value in given.state_dict().items():
        assert torch.equal(trained.state_dict()[name], value)
    assert task.quality(trained, batches(task.data.select)) == task.quality(given, batches(fresh_task.data.select))


def test_a_model_that_fails(fresh_task: Task) -> None:
    with pytest.raises(TaskError, match=r"the model fails on `example`: RuntimeError: .*mat1 and mat2"):
        validate(dataclasses.replace(fresh_task, model=nn.Sequential(nn.Flatten(), nn.Linear(3, 4))))


def vector_loss(forward: Any, batch: Any) -> Tensor:
    return forward(batch[0]).sum(1)


def infinite_loss(forward: Any, batch: Any) -> Tensor:
    return forward(batch[0]).sum() * float("inf")


@pytest.mark.parametrize(("loss", "got"), [(vector_loss, r"shape \(8,\)"), (infinite_loss, r"gave (inf|-inf|nan)")])
def test_a_loss_that_is_no_number(fresh_task: Task, loss: Any, got: str) -> None:
    with pytest.raises(TaskError, match=got):
        validate(dataclasses.replace(fresh_task, loss=loss))


def severed_loss(forward: Any, batch: Any) -> Tensor:
    with torch.no_grad():
        return forward(batch[0]).sum()


def test_a_loss_that_carries_no_gradient(fresh_task: Task, tiny_task: Task) -> None:
    severed = dataclasses.replace(fresh_task, loss=severed_loss)
    with pytest.raises(TaskError, match=r"task 'tiny-fresh': loss\(model, batch\) carries no gradient"):
        validate(severed)
    frozen = copy.deepcopy(fresh_task.model).requires_grad_(False)
    with pytest.raises(TaskError, match="some parameter of the model has to require a gradient"):
        validate(dataclasses.replace(fresh_task, model=frozen))
    validate(dataclasses.replace(tiny_task, loss=severed_loss))  # it is not trained


def nan_quality(forward: Any, batches: Any) -> float:
    return float("nan")


def tensor_quality(forward: Any, batches: Any) -> Any:
    return torch.zeros(3)


@pytest.mark.parametrize(("quality", "got"), [(nan_quality, "nan"), (tensor_quality, r"tensor of shape \(3,\)")])
def test_a_metric_that_is_no_number(fresh_task: Task, quality: Any, got: str) -> None:
    with pytest.raises(MetricError, match=got):
        validate(dataclasses.replace(fresh_task, quality=quality))


def cropped(x: Tensor) -> Tensor:
    return x[..., :4]


def test_an_augmentation_that_changes_the_shape(fresh_task: Task) -> None:
    with pytest.raises(
        TaskError, match=r"augmentation .*cropped.* made a tensor of shape \(8, 1, 8, 4\).*keep the shape"
    ):
        validate(dataclasses.replace(fresh_task, augment=(cropped,)))


class Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.linalg.eigvals(x[:, 0]).abs().repeat(1, 8))


def test_a_model_that_cannot_be_exported_names_the_operation(fresh_task: Task) -> None:
    with pytest.raises(ExportError, match="linalg_eig"):
        validate(dataclasses.replace(fresh_task, model=Fourier()))


def test_a_runtime_that_cannot_open_the_file(fresh_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"flyweight\[openvino\]"):
        validate(fresh_task, "openvino")
    with pytest.raises(ArtifactError, match="threads=0"):
        validate(fresh_task, threads=0)
