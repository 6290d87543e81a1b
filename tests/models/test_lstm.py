import pytest
import torch

from flyweight.core.errors import ShapeError
from flyweight.models.lstm import lstm


def test_has_the_parameters_of_the_equations():
    with torch.device("meta"):
        model = lstm(2, 1.0, classes=10, channels=28)
    wanted = sum(4 * (128 * (inputs + 128) + 2 * 128) for inputs in (28, 128)) + 128 * 10 + 10
    assert sum(p.numel() for p in model.parameters()) == wanted


def test_computes_the_equations():
    torch.manual_seed(0)
    model, x = lstm(1, 0.05, 3, 4).double(), torch.randn(2, 5, 4).double()
    layer, h, c = model.lstm, torch.zeros(2, 6).double(), torch.zeros(2, 6).double()
    for t in range(5):
        gates = x[:, t] @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    torch.testing.assert_close(model(x), model.head(h))


def test_cells_begin_by_remembering():
    model = lstm(2, 0.125)
    for layer in range(2):
        bias = getattr(model.lstm, f"bias_ih_l{layer}") + getattr(model.lstm, f"bias_hh_l{layer}")
        assert torch.equal(bias.view(4, -1).mean(1), torch.tensor([0.0, 1.0, 0.0, 0.0]))
        u = getattr(model.lstm, f"weight_hh_l{layer}")[:16]
        torch.testing.assert_close(u @ u.T, torch.eye(16), rtol=1e-5, atol=1e-5)


def test_reads_words():
    model = lstm(2, 0.125, classes=2, channels=8, vocabulary=50)
    assert model(torch.randint(0, 50, (3, 12))).shape == (3, 2)


def test_no_depth():
    with pytest.raises(ShapeError, match="cannot have 0 layers"):
        lstm(0)
