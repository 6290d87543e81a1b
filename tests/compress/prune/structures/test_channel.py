import copy
import dataclasses

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from torch import nn

import tiny
from flyweight.compress.prune.distributions.global_ import global_
from flyweight.compress.prune.pools.coupled import coupled
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.scores.norm_scale import norm_scale
from flyweight.compress.prune.scores.random import random
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.element import element
from flyweight.compress.prune.structures.head import head
from flyweight.core.errors import ShapeError, UnsupportedError
from flyweight.surgery.mask import mask_of
from nets import masks, plain_task

SCORES = [Prune(0.5, structure=channel()).score, taylor(), random(), norm_scale()]


def without(model, channels):
    """``tiny_cnn`` with the channels of its two convolutions that stay, made by hand."""
    first, second = (keep.nonzero().flatten() for keep in channels)
    small = tiny.tiny_cnn()
    state = {
        "0.weight": model[0].weight[first],
        "4.weight": model[4].weight[second][:, first],
        "9.weight": model[9].weight.reshape(4, 16, 4)[:, second].reshape(4, -1),
        "9.bias": model[9].bias,
    }
    for index, keep in ((1, first), (5, second)):
        norm = model[index]
        state |= {f"{index}.{n}": getattr(norm, n)[keep] for n in ("weight", "bias", "running_mean", "running_var")}
        small[index] = nn.BatchNorm2d(len(keep))
    small[0] = nn.Conv2d(1, len(first), 3, padding=1, bias=False)
    small[4] = nn.Conv2d(len(first), len(second), 3, padding=1, bias=False)
    small[9] = nn.Linear(4 * len(second), 4)
    small.load_state_dict(state, strict=False)
    return small.eval()


class Heads(nn.Module):
    """Attention whose code holds the number of heads."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out, self.norm = nn.Linear(16, 48), nn.Linear(16, 16), nn.LayerNorm(16)

    def forward(self, x):
        q, k, v = (t.reshape(len(x), -1, 4, 4).transpose(1, 2) for t in self.qkv(self.norm(x)).chunk(3, -1))
        y = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return x + self.out(y.transpose(1, 2).reshape(len(x), -1, 16))


def test_what_the_reader_can_mend_is_told_first():
    model = nn.Sequential(nn.Linear(3, 16), Heads(), Heads(), nn.Linear(16, 4))
    task = dataclasses.replace(plain_task(model), example=(torch.randn(2, 5, 3),))
    told = r"no heads that can be taken away \(1.qkv: .* holds the size \d+ as a number \(an attribute"
    with pytest.raises(UnsupportedError, match=told):
        Prune(0.5, structure=head())(model, task)


@pytest.mark.parametrize("norm", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_weights_that_another_parametrization_makes_are_named_with_the_way_out(norm, tiny_task):
    model = nn.Sequential(norm(nn.Linear(4, 6)), norm(nn.Linear(6, 6)), nn.Linear(6, 2)).eval()
    task = dataclasses.replace(tiny_task, model=model, example=(torch.randn(2, 4),))
    told = r"Remove the parametrization of '0' .*by torch\.nn\.utils\.parametrize\.remove_parametrizations"
    with pytest.raises(UnsupportedError, match=told):
        Prune(0.5, structure=channel())(model, task)


def test_a_reason_that_layers_share_is_told_once(tiny_task):
    normed = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 6), nn.LayerNorm(6))
    model = nn.Sequential(normed, nn.RNN(6, 6, batch_first=True)).eval()
    task = dataclasses.replace(tiny_task, model=model, example=(torch.randn(2, 3, 4),))
    with pytest.raises(UnsupportedError) as caught:
        Prune(0.5, structure=channel())(model, task)
    reasons = str(caught.value).partition("taken away (")[2].partition("). ")[0].split("; ")
    assert len(reasons) == len({reason.partition(": ")[2] for reason in reasons}) > 1


def test_a_round_number_that_no_layer_has_is_refused(tiny_task):
    with pytest.raises(ShapeError, match=r"channel\(round_to=17\) can take nothing from Sequential, whose largest"):
        Prune(0.5, structure=channel(round_to=17))(tiny_task.model, tiny_task)
    Prune(0.5, structure=channel(round_to=16))(tiny_task.model, tiny_task)


@pytest.mark.parametrize(("score", "ratio"), [*zip(SCORES, (0.2, 0.6, 0.9, 0.4), strict=True)], ids=str)
def test_the_masked_model_is_the_one_without_those_channels(score, ratio, tiny_task):
    pruned = Prune(ratio, score=score, structure=channel())(tiny_task.model, tiny_task).eval()
    keep = [pruned[1].weight != 0, pruned[5].weight != 0]
    assert all(abs(int(k.sum()) - len(k) * (1 - ratio)) <= 1 for k in keep)
    x = tiny_task.data.select.tensors[0]
    with torch.no_grad():
        wanted = without(pruned, keep)(x)
        assert torch.allclose(pruned(x), wanted, atol=1e-5)
        for mask in masks(pruned):  # whatever stands under the masks
            for chain in (m for m in pruned.modules() if isinstance(m, nn.utils.parametrize.ParametrizationList)):
                if mask in list(chain):
                    chain.original[~mask.keep] = 1e3
        assert torch.allclose(pruned(x), wanted, atol=1e-5)


def test_units_across_a_residual_go_together_and_several_layers_count_alike(residual_task):
    model = residual_task.model
    with torch.no_grad():
        model.stem[0].weight.mul_(1e3)  # a layer of large weights has no more say than the other
    (pool,) = coupled(model, residual_task, (), "channel", 1)
    scores = {name: getattr(module, parameter).detach().abs() for module, parameter, name in pool.reads("weight")}
    assert set(scores) == {"stem.0.weight", "one.0.weight"}
    sums = [values.flatten(1).sum(1) for values in scores.values()]
    fair = sum(values / values.mean() for values in sums)
    got = pool.saliency(scores)
    assert torch.equal(got.argsort(), fair.double().argsort())
    assert got.mean().item() == pytest.approx(sum(values.mean().item() for values in sums), rel=1e-4)
    pruned = Prune(0.5, structure=channel())(model, residual_task)
    dead = pruned.stem[1].weight == 0
    assert int(dead.sum()) == 4
    assert bool((pruned.head.weight[:, dead] == 0).all())
    assert bool((pruned.one[0].weight[dead] == 0).all())
    assert bool((pruned.one[0].weight[:, dead] == 0).all())
    assert bool((pruned.stem[0].bias[dead] == 0).all())


def test_units_own_parameters_in_every_piece(tiny_task):
    first, second = coupled(tiny_task.model, tiny_task, (), "channel", 1)
    assert first.name == "0"
    assert first.shape == (8, 1, 3, 3)
    assert first.parameters.tolist() == [9 + 2 + 9 * 16] * 8
    assert second.parameters.tolist() == [9 * 8 + 2 + 4 * 4] * 16
    assert [name for *_, name in second.reads("norm")] == ["5.weight"]


@pytest.mark.parametrize("multiple", [1, 2, 3, 4, 8])
def test_kept_counts_are_multiples(multiple, tiny_task):
    pruned = Prune(0.45, structure=channel(round_to=multiple))(tiny_task.model, tiny_task)
    for norm, units in ((pruned[1], 8), (pruned[5], 16)):
        kept = int((norm.weight != 0).sum())
        assert kept % multiple == 0
        assert abs(kept - 0.55 * units) <= multiple / 2 + 0.5


@settings(max_examples=5, deadline=None, phases=(Phase.explicit, Phase.generate))  # each a trace: no shrinking
@given(st.lists(st.integers(2, 9), min_size=2, max_size=3), st.floats(0, 0.95), st.integers(0, 9))
def test_random_networks_keep_a_channel_everywhere_and_lose_the_ratio(widths, ratio, seed):
    torch.manual_seed(seed)
    sizes = list(zip(widths, widths[1:], strict=False))
    layers = [nn.Conv2d(1, widths[0], 3), *(nn.Conv2d(a, b, 1) for a, b in sizes), nn.Conv2d(widths[-1], 2, 1)]
    model = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))
    task = plain_task(model, torch.zeros(2, 1, 5, 5))
    pruned = Prune(ratio, structure=channel(), distribution=global_())(model, task)
    pools = coupled(pruned, task, (), "channel", 1)
    assert len(pools) == len(widths)
    total = sum(float(pool.parameters.sum()) for pool in pools)
    lost = sum(float(pool.parameters[~pool.kept].sum()) for pool in pools)
    assert all(bool(pool.kept.any()) for pool in pools)
    largest = max(float(pool.parameters.max()) for pool in pools)
    assert lost <= ratio * total + largest / 2 + 1e-6
    assert lost >= ratio * total - largest / 2 - 1e-6 or all(int(pool.kept.sum()) == 1 for pool in pools)


def test_excluded_layers_keep_their_own_channels_and_may_lose_columns(tiny_task):
    pruned = Prune(0.5, structure=channel(), exclude=("4",))(tiny_task.model, tiny_task)
    assert int((pruned[1].weight == 0).sum()) == 4
    assert bool((pruned[4].weight[:, pruned[1].weight == 0] == 0).all())
    assert not hasattr(pruned[5], "parametrizations")
    with pytest.raises(UnsupportedError, match=r"Sequential has no heads that can be taken away"):
        coupled(tiny_task.model, tiny_task, (), "head", 1)
    with pytest.raises(UnsupportedError, match=r"has no channels that can be taken away outside exclude=\('\*',\)"):
        Prune(0.5, structure=channel(), exclude=("*",))(tiny_task.model, tiny_task)


def test_elements_and_channels_compose(tiny_task):
    sparse = Prune(0.5, structure=element())(tiny_task.model, tiny_task)
    both = Prune(0.5, structure=channel())(sparse, tiny_task)
    assert bool((sparse[4].weight != 0).ge(both[4].weight != 0).all())
    assert int((both[5].weight == 0).sum()) == 8
    again = Prune(0.5, structure=channel())(both, tiny_task)
    for name, value in both.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_channels_without_batchnorm_are_left_out_where_it_is_scored(tiny_task):
    model = copy.deepcopy(tiny_task.model)
    model[5] = nn.Identity()
    pruned = Prune(0.5, score=norm_scale(), structure=channel())(model, plain_task(model, *tiny_task.example))
    assert int((pruned[1].weight == 0).sum()) == 4
    model[1] = nn.Identity()
    with pytest.raises(
        UnsupportedError, match=r"channel\(round_to=1\) finds nothing in Sequential that norm_scale\(\) can score"
    ):
        Prune(0.5, score=norm_scale(), structure=channel())(model, plain_task(model, *tiny_task.example))


def test_a_multiple_is_a_number():
    with pytest.raises(ShapeError, match=r"channel got round_to=0. Give a whole number, 1 or more, as in channel\("):
        channel(round_to=0)


def test_a_unit_that_nothing_reads_counts_as_gone(tiny_task):
    model = copy.deepcopy(tiny_task.model)
    mask_of(model[4]).keep[:, :3] = False
    mask_of(model[0]).keep[5] = False  # its shift still speaks
    first, _ = coupled(model, tiny_task, (), "channel", 1)
    assert first.kept.tolist() == [False] * 3 + [True] * 5
