"""Progress on disk: all that training changes, bit for bit, and what a damaged file says."""

import copy

import pytest
import torch
from torch import nn

from flyweight.core.errors import StoreError
from flyweight.learn.checkpoint import load_progress, save_progress
from flyweight.learn.hardware import lay_out


class Odd(nn.Module):
    """Tied weights, a buffer outside the state dict, one that grows, and a flag that is read from a buffer."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.twin = nn.Conv2d(2, 3, 3)
        self.twin.weight = self.conv.weight
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("hidden", torch.zeros(2), persistent=False)
        self.register_buffer("seen", torch.zeros(0))
        self.register_buffer("late", None)
        self.register_buffer("flag", torch.tensor(0))
        self.on = False

    def forward(self, x):
        return self.norm(self.conv(x) + self.twin(x))

    def _load_from_state_dict(self, *args, **kwargs):
        super()._load_from_state_dict(*args, **kwargs)
        self.on = bool(self.flag)


def trained(model, make):
    optimizer = make(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(4, 2, 5, 5)).square().mean().backward()
        optimizer.step()
    model.hidden += 1
    model.seen = torch.arange(3.0)
    model.late = torch.ones(2)
    model.flag.fill_(1)
    model.norm.eval()
    return optimizer


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.AdamW(p, lr=0.1, fused=True),
        lambda p: torch.optim.AdamW(p, lr=0.1, foreach=False, fused=False),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_everything_comes_back_and_goes_on_alike(tmp_path, make, channels_last):
    torch.manual_seed(0)
    first = Odd()
    lay_out(first, channels_last)
    fresh = copy.deepcopy(first)
    lay_out(fresh, channels_last)
    optimizer = trained(first, make)
    save_progress(tmp_path / "p.safetensors", first, optimizer, {"done": 3})
    again = make(fresh.parameters())
    plain = load_progress(tmp_path / "p.safetensors", fresh, again)
    assert plain == {"done": 3}
    assert fresh.on
    assert fresh.conv.weight is fresh.twin.weight
    assert [m.training for m in fresh.modules()] == [m.training for m in first.modules()]
    assert fresh.hidden.equal(torch.ones(2))
    assert fresh.seen.equal(torch.arange(3.0))
    assert fresh.late.equal(torch.ones(2))
    x = torch.randn(4, 2, 5, 5)
    for model, steps in ((first, optimizer), (fresh, again)):
        steps.zero_grad()
        model(x).square().mean().backward()
        steps.step()
    for one, other in zip(first.parameters(), fresh.parameters(), strict=True):
        assert one.equal(other)
        assert one.stride() == other.stride()
    for one, other in zip(optimizer.state.values(), again.state.values(), strict=True):
        for name, value in one.items():
            if isinstance(value, torch.Tensor):
                assert value.equal(other[name])
                assert value.stride() == other[name].stride()


def test_a_damaged_file_says_so(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "p.safetensors"
    save_progress(path, model, optimizer, {})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"p.safetensors holds no whole checkpoint.*Delete it"):
        load_progress(path, model, optimizer)
