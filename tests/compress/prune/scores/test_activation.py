import pytest
import torch

from flyweight.compress.prune.evidence import Evidence
from flyweight.compress.prune.scores.activation import activation
from flyweight.core.errors import ShapeError


def test_wanda_by_loops():
    x, weight = torch.randn(20, 5), torch.randn(3, 5)
    found = activation()(Evidence("w", weight, inputs=x.norm(dim=0)))
    for i in range(3):
        for j in range(5):
            length = sum(float(x[n, j]) ** 2 for n in range(20)) ** 0.5
            assert float(found[i, j]) == pytest.approx(abs(float(weight[i, j])) * length, rel=1e-5)


def test_each_group_has_its_own_inputs():
    weight, norms = torch.ones(4, 1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    found = activation()(Evidence("w", weight, inputs=norms))
    assert found.squeeze(1).tolist() == [[1, 2], [1, 2], [3, 4], [3, 4]]


def test_norms_of_another_layer():
    with pytest.raises(ShapeError, match=r"activation got 7 norms of inputs for 'w' of shape \(3, 5\). Give 5 of them"):
        activation()(Evidence("w", torch.ones(3, 5), inputs=torch.ones(7)))
