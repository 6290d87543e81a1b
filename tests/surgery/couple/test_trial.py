"""What code works out of another tensor's size: what is offered for removal can be removed."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.head import head
from flyweight.core.errors import UnsupportedError
from flyweight.surgery.couple.couple import couple
from nets import plain_task


class Attention(nn.Module):
    """nanoGPT's: the size of a head is the stream's, divided."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.n_head, self.c_attn, self.c_proj = 4, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(x.shape[-1], dim=2)
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for t in (q, k, v))
        y = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        out: Tensor = self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))
        return out


class Mixing(nn.Module):
    """Heads of a size that the stream has, mixed over positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.o = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        out: Tensor = self.o(self.q(x).reshape(B, T, 4, C // 4).softmax(1).reshape(B, T, -1))
        return out


class Block(nn.Module):
    """x + mixer(norm(x)), and x + mlp(norm(x)) after it."""

    def __init__(self, mixer: nn.Module, normed: bool, width: int) -> None:
        super().__init__()
        self.mixer = nn.Sequential(nn.LayerNorm(width) if normed else nn.Identity(), mixer)
        self.mlp = nn.Sequential(nn.Linear(width, 24), nn.GELU(), nn.Linear(24, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(x)
        out: Tensor = x + self.mlp(x)
        return out


def _net(mixer: type[Attention | Mixing], normed: bool) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 16), Block(mixer(16), normed, 16), nn.Flatten(), nn.Linear(6 * 16, 4)).eval()


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("mixer", [Attention, Mixing])
def test_what_is_offered_can_be_removed_and_computes_what_the_masked_model_does(
    mixer: type[Attention | Mixing], normed: bool
) -> None:
    model, example = _net(mixer, normed), (torch.randn(2, 6, 10),)
    coupling = couple(model, example)
    assert {group.label: group.units for group in coupling.groups} == {"1.mlp.0": 24}
    reason = coupling.refused["0"]
    if normed:
        assert "normalises over it" in reason
    else:
        assert "without some of its units it cannot run any more at test_trial.py:" in reason and "shape" in reason
    task = dataclasses.replace(plain_task(model), example=example)
    masked = Prune(0.5, structure=channel())(model, task)
    smaller = Remove()(masked, task)
    assert smaller[1].mlp[0].out_features == 12
    torch.testing.assert_close(smaller(*example), masked(*example))
    with pytest.raises(UnsupportedError, match=r"no heads that can be taken away \(.* at test_trial.py:\d+ \("):
        Prune(0.5, structure=head())(model, task)


def test_the_line_that_stops_is_told() -> None:
    model, example = nn.Sequential(nn.Linear(10, 16), Mixing(16)), (torch.randn(2, 6, 10),)
    task = dataclasses.replace(plain_task(model), example=example)
    told = r"has no channels that can be taken away \(0: without some of its units it cannot run any more at "
    with pytest.raises(UnsupportedError, match=told + r"test_trial.py:\d+ \(.*C // 4.*take sizes from the tensor"):
        Prune(0.5, structure=channel())(model, task)


class Scaled(nn.Module):
    """Two layers between which one may divide by the root of a size."""

    def __init__(self, by_size: bool) -> None:
        super().__init__()
        self.up, self.down, self.by_size = nn.Linear(5, 7), nn.Linear(7, 5), by_size

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(x).relu()
        out: Tensor = self.down(y * y.shape[-1] ** -0.5 if self.by_size else y)
        return out


class Beside(nn.Module):
    """Several beside each other."""

    def __init__(self, by_size: list[bool]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Scaled(one) for one in by_size)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], -1)


@settings(max_examples=12, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(0, 5))
def test_only_what_computes_something_else_is_refused(by_size: list[bool], seed: int) -> None:
    torch.manual_seed(seed)
    model = Beside(by_size).eval()
    before = copy.deepcopy(model.state_dict())
    coupling = couple(model, (torch.ones(2, 5),))
    ups = {group.label for group in coupling.groups}
    assert ups == {f"parts.{at}.up" for at, one in enumerate(by_size) if not one}
    for at, one in enumerate(by_size):
        assert not one or "its outputs change by" in coupling.refused[f"parts.{at}.up"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


class Table(nn.Module):
    """A number picks a row; under noise there may be none of that number."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.one, self.two = nn.Embedding(2, 4), nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.two(self.one(self.table(x.long())).relu())
        return out


def test_an_example_that_takes_no_noise_is_tried_as_it_is() -> None:
    coupling = couple(Table().eval(), (torch.ones(4096),))
    assert {group.label for group in coupling.groups} == {"table", "one"}


class Drawn(nn.Module):
    """What is drawn in evaluation too, as a variational code is."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.code, self.two = nn.Linear(5, 8), nn.Linear(8, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        code = self.code(self.one(x).relu())
        out: Tensor = self.two(code + torch.randn(len(x), 1))
        return out


def test_a_model_that_draws_numbers_is_compared_on_the_same_ones() -> None:
    state = torch.get_rng_state()
    coupling = couple(Drawn().eval(), (torch.ones(2, 5),))
    assert "one" in {group.label for group in coupling.groups}
    torch.set_rng_state(state)
    model = Drawn().eval()
    after = torch.get_rng_state()
    couple(model, (torch.ones(2, 5),))
    assert torch.equal(after, torch.get_rng_state())
