import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_accuracy

from flyweight.core.errors import ShapeError, TaskError
from flyweight.tasks.accuracy import accuracy


@given(st.integers(1, 40), st.integers(2, 7), st.integers(1, 9), st.integers(0, 10_000))
def test_agrees_with_torchmetrics_however_the_examples_are_batched(count, classes, size, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    target = torch.randint(classes, (count,), generator=generator)
    parts = [(logits[i : i + size], target[i : i + size]) for i in range(0, count, size)]
    expected = multiclass_accuracy(logits, target, classes, average="micro").item()
    assert accuracy(lambda x: x, parts) == pytest.approx(expected)
    assert accuracy(lambda x: x.numpy(), iter(parts)) == pytest.approx(expected)


def test_keeps_no_gradient():
    weight = torch.ones(3, requires_grad=True)
    seen = []
    accuracy(lambda x: seen.append(x * weight) or seen[-1], [(torch.randn(4, 3), torch.zeros(4, dtype=torch.long))])
    assert not seen[0].requires_grad


def test_nan_outputs_have_no_accuracy():
    broken = torch.tensor([[1.0, float("nan")], [1.0, 0.0]])
    assert math.isnan(accuracy(lambda x: broken, [(torch.zeros(2), torch.zeros(2, dtype=torch.long))]))


def test_two_inputs():
    target = torch.tensor([0, 1, 1])
    batches = [(torch.eye(3)[:, :2], torch.zeros(3, 2), target)]
    assert accuracy(lambda a, b: a + b, batches) == pytest.approx(2 / 3)


def test_other_shapes_are_told():
    with pytest.raises(ShapeError, match=r"outputs \(N, classes\) and targets \(N,\), and got \(2, 3, 4\) and \(2,\)"):
        accuracy(lambda x: np.zeros((2, 3, 4)), [(torch.zeros(2), torch.zeros(2, dtype=torch.long))])


def test_no_examples():
    with pytest.raises(TaskError, match="accuracy got no examples"):
        accuracy(lambda x: x, [])
