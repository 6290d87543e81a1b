"""Items of a data set against the task's example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from flyweight.core.data_check import check_data
from flyweight.core.errors import TaskError

EXAMPLE = (torch.zeros(5, 1),)
X = torch.zeros(1)


@pytest.mark.parametrize("target", [3, 0.5, True, np.int64(3), np.float32(1), np.bool_(True), torch.tensor(1)])
def test_targets_may_be_what_a_loader_collates(target: Any) -> None:
    check_data([(X, target)], EXAMPLE, "data.train")
    (_, collated) = next(iter(torch.utils.data.DataLoader([(X, target)])))  # type: ignore[arg-type]
    assert isinstance(collated, torch.Tensor)


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        ([], r"^TaskError: task 'a': data\.train is empty\. Every split needs examples"),
        (
            TensorDataset(torch.zeros(3, 2), torch.zeros(3)),
            r"data\.train\[0\] does not fit .*input 0 is a tensor of shape \(2,\) .* the example is .*shape \(1,\)",
        ),
        (TensorDataset(torch.zeros(3, 1).double()), r"type float64.*type float32.*Change the data or `example`"),
        ([X], r"data\.train\[0\] is a tensor of shape \(1,\) and type float32, and has to be a tuple"),
        ([()], r"is a tuple of \(\), and has to be a tuple: the model's inputs"),
        ([(X, "cat")], r"is a tuple of \(a tensor .*, 'cat' \(str\)\), and has to be .* or plain numbers"),
        ([(3, 1)], r"input 0 is 3 \(int\)"),
    ],
)
def test_what_does_not_fit_is_told(dataset: Any, text: str) -> None:
    with pytest.raises(TaskError, match=text):
        check_data(dataset, EXAMPLE, "task 'a': data.train")


def test_fewer_parts_than_inputs() -> None:
    with pytest.raises(TaskError, match=r"\[1\] has 1 part\(s\), and `example` alone has 2 inputs"):
        check_data([(X, X), (X,)], (*EXAMPLE, *EXAMPLE), "data.select", (0, 1))
