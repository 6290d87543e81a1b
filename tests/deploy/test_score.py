"""Scores: exact values, honest intervals, one pass over the data, and errors that say whose metric broke."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from flyweight.core.errors import MetricError, TaskError, UnknownNameError
from flyweight.core.task import Splits, Task, batches
from flyweight.deploy import recorded
from flyweight.deploy.score import score
from flyweight.tasks.accuracy import accuracy


class Counting(nn.Module):
    """A model that counts the examples it has seen."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.seen = model, 0

    def forward(self, *inputs: Tensor) -> Any:
        self.seen += len(inputs[0])
        return self.model(*inputs)


def with_quality(task: Task, quality: Any) -> Task:
    return dataclasses.replace(task, quality=quality)


def test_the_value_is_the_quality_functions_own_and_the_model_is_asked_once(tiny_task: Task) -> None:
    model = Counting(tiny_task.model)
    found = score(model, tiny_task, "report", batch=50)
    assert found.value == accuracy(tiny_task.model, batches(tiny_task.data.report, 50))
    assert found.examples == 256
    assert model.seen == 256
    assert found.low <= found.value <= found.high


def test_the_interval_is_that_of_a_proportion(tiny_task: Task) -> None:
    found = score(tiny_task.model, tiny_task)
    half = 1.96 * math.sqrt(found.value * (1 - found.value) / 256)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.25)
    assert found == score(tiny_task.model, tiny_task)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    truth, held = 0.8, 0
    for seed in range(60):
        right = (torch.rand(300, generator=torch.Generator().manual_seed(seed)) < truth).float()
        found = score(lambda x: x, one_split(TensorDataset(right), mean_of_outputs))
        held += found.low <= truth <= found.high
    assert held >= 51  # 57 expected; fewer than 51 of 60 has a chance below 1 % at 95 %


def mean_of_outputs(forward: Any, data: Any) -> float:
    outputs = torch.cat([forward(x) for (x,) in data])
    return float(outputs.mean())


def one_split(dataset: Dataset[Any], quality: Any) -> Task:
    return Task(
        name="plain",
        model=nn.Identity(),
        example=(torch.zeros(2),),
        data=Splits(train=dataset, calibrate=dataset, select=dataset, report=dataset),
        loss=lambda forward, batch: forward(batch[0]).sum(),
        quality=quality,
    )


def test_a_metric_of_the_whole_set_gets_its_interval_too(tiny_task: Task) -> None:
    def macro_recall(forward: Any, data: Any) -> float:
        kept = list(data)  # all batches first, then the outputs
        hits = torch.cat([forward(x).argmax(1) == y for x, y in kept])
        labels = torch.cat([y for _, y in kept])
        return float(torch.stack([hits[labels == c].float().mean() for c in range(4)]).mean())

    model = Counting(tiny_task.model)
    found = score(model, with_quality(tiny_task, macro_recall))
    assert found.low < found.value < found.high
    assert model.seen == 256


def test_several_outputs_and_inputs_are_drawn_together() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(200, 3), torch.randn(200)

    def quality(forward: Any, data: Any) -> float:
        total = count = 0.0
        for a, b in data:
            outputs = forward(a, b)
            assert torch.equal(outputs["sum"][0], a.sum(1) + b)
            total += float(outputs["sum"][0].mean() * len(a))
            count += len(a)
        return total / count

    task = dataclasses.replace(one_split(TensorDataset(x, y), quality), example=(torch.zeros(2, 3), torch.zeros(2)))
    found = score(lambda a, b: {"sum": (a.sum(1) + b, a)}, task, batch=64)
    assert found.value == pytest.approx(float((x.sum(1) + y).mean()), abs=1e-6)
    assert found.low < found.value < found.high


def test_a_metric_that_changes_what_it_is_given_is_still_exact(tiny_task: Task) -> None:
    def flipped(forward: Any, data: Any) -> float:
        right = total = 0
        for x, y in data:
            output = forward(x)
            output += forward(x.flip(3))  # in place, and of another tensor
            right += int((output.argmax(1) == y).sum())
            total += len(y)
        return right / total

    found = score(tiny_task.model, with_quality(tiny_task, flipped))
    with torch.no_grad():
        assert found.value == flipped(tiny_task.model, batches(tiny_task.data.select))
    assert found.low < found.value < found.high


def test_a_slow_metric_does_not_make_the_interval_slow(tiny_task: Task) -> None:
    def slow(forward: Any, data: Any) -> float:
        time.sleep(0.1)
        return accuracy(forward, data)

    start = time.perf_counter()
    found = score(tiny_task.model, with_quality(tiny_task, slow))
    assert time.perf_counter() - start < 3
    assert found.low < found.value < found.high


def test_large_data_are_thinned_and_the_interval_narrowed(tiny_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score(tiny_task.model, tiny_task, batch=16)
    monkeypatch.setattr(recorded, "_KEPT_BYTES", 256 * (64 * 4 + 8) // 2)
    part = score(tiny_task.model, tiny_task, batch=16)
    assert part.value == whole.value
    assert part.high - part.low == pytest.approx(whole.high - whole.low, rel=0.35)


def test_a_module_is_scored_in_evaluation_mode_and_left_as_it_was(tiny_task: Task) -> None:
    model = tiny_task.model
    model[1].eval()
    found = score(model, tiny_task)
    model.train()
    model[1].eval()
    assert score(model, tiny_task) == found
    assert model.training
    assert not model[1].training


def test_drawings_that_fail_leave_the_value_alone_and_say_so(tiny_task: Task) -> None:
    labels = tiny_task.data.select.tensors[1]  # type: ignore[attr-defined]

    def brittle(forward: Any, data: Any) -> float:
        seen = torch.cat([y for _, y in data])
        if not torch.equal(seen, labels):
            raise ValueError("no such class")
        return 0.5

    with pytest.warns(UserWarning, match=r"no interval for the quality.*no such class"):
        found = score(tiny_task.model, with_quality(tiny_task, brittle))
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (float("nan"), "returned nan"),
        (float("inf"), "returned inf"),
        (torch.tensor(float("nan")), "returned nan"),
        (torch.zeros(3), r"returned a tensor of shape \(3,\)"),
        ("good", "returned 'good'"),
        (None, "returned None"),
    ],
)
def test_a_quality_that_cannot_be_compared(tiny_task: Task, value: Any, told: str) -> None:
    def my_metric(forward: Any, data: Any) -> Any:
        return value

    with pytest.raises(MetricError, match=rf"quality 'my_metric' of task 'tiny' {told}.*select split"):
        score(tiny_task.model, with_quality(tiny_task, my_metric))


@pytest.mark.parametrize("value", [torch.tensor(0.25), torch.tensor([0.25]), __import__("numpy").float32(0.25)])
def test_numbers_of_other_libraries_are_numbers(tiny_task: Task, value: Any) -> None:
    task = with_quality(tiny_task, lambda forward, data: value)
    with pytest.warns(UserWarning, match="read no batch"):
        assert score(tiny_task.model, task).value == 0.25


def test_unknown_and_empty_splits(tiny_task: Task) -> None:
    with pytest.raises(UnknownNameError, match=r"there is no split 'selct'. Did you mean 'select'"):
        score(tiny_task.model, tiny_task, "selct")
    empty = dataclasses.replace(tiny_task.data, report=TensorDataset(torch.zeros(0, 1, 8, 8)))
    with pytest.raises(TaskError, match="the report split of task 'tiny' is empty"):
        score(tiny_task.model, dataclasses.replace(tiny_task, data=empty), "report")
