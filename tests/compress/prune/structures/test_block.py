from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.block import block
from flyweight.core.errors import ShapeError
from flyweight.surgery.chain import stored_form
from flyweight.surgery.stored import Blocks
from nets import masks, plain_task, random_net

TILES = [(1, 1), (2, 1), (4, 1), (16, 1), (4, 4), (3, 5)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=4), st.floats(0, 0.95), st.sampled_from(TILES))
def test_whole_tiles_go_the_least_first_and_the_ratio_is_met_to_half_a_tile(widths, ratio, tile):
    model = random_net(widths)
    pruned = Prune(ratio, structure=block(*tile))(model, plain_task(model))
    gone = total = 0
    for mask, layer in zip(masks(pruned), list(model)[2:], strict=True):
        keep, weight = mask.keep, layer.weight.detach().abs()
        kept, lost = [], []
        for i in range(0, keep.shape[0], tile[0]):
            for j in range(0, keep.shape[1], tile[1]):
                part = keep[i : i + tile[0], j : j + tile[1]]
                assert part.all() or not part.any()
                (kept if part.all() else lost).append(float(weight[i : i + tile[0], j : j + tile[1]].sum()))
        assert kept
        assert not lost or max(lost) <= min(kept) + 1e-5
        gone, total = gone + int((~keep).sum()), total + keep.numel()
    spare = len(masks(pruned)) * tile[0] * tile[1]
    assert gone >= ratio * total - spare
    assert gone <= ratio * total + tile[0] * tile[1] / 2 + 1e-6


@pytest.mark.parametrize("tile", TILES)
def test_convolutions_are_matrices_and_the_chain_tells_the_tile(tile, tiny_task):
    pruned = Prune(0.5, structure=block(*tile))(tiny_task.model, tiny_task)
    form = stored_form(pruned[4])
    assert isinstance(form, Blocks)
    assert form.block == tile
    matrix = form.keep.reshape(16, -1)
    for i in range(0, 16, tile[0]):
        for j in range(0, matrix.shape[1], tile[1]):
            part = matrix[i : i + tile[0], j : j + tile[1]]
            assert part.all() or not part.any()


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3]), st.sampled_from([(4, 4), (2, 3), (1, 1)]))
def test_with_taps_a_tile_holds_inputs_at_one_place_of_the_kernel(outputs, inputs, kernel, tile):
    torch.manual_seed(outputs + 9 * inputs)
    model = nn.Sequential(nn.Conv2d(1, inputs, 1), nn.Conv2d(inputs, outputs, kernel, padding=1))
    task = replace(plain_task(nn.Linear(2, 2)), model=model, example=(torch.zeros(2, 1, 4, 4),))
    pruned = Prune(0.5, structure=block(*tile, taps=True))(model, task)
    (mask,) = masks(pruned)
    weight, kept, lost = model[1].weight.detach().abs(), [], []
    for place in range(kernel * kernel):
        at = place // kernel, place % kernel
        for i in range(0, outputs, tile[0]):
            for j in range(0, inputs, tile[1]):
                part = mask.keep[i : i + tile[0], j : j + tile[1], at[0], at[1]]
                assert part.all() or not part.any()
                (kept if part.all() else lost).append(
                    float(weight[i : i + tile[0], j : j + tile[1], at[0], at[1]].sum())
                )
    assert kept
    assert not lost or max(lost) <= min(kept) + 1e-5


def test_elements_that_went_before_stay_away(tiny_task):
    first = Prune(0.3)(tiny_task.model, tiny_task)
    both = Prune(0.5, structure=block(4, 1))(first, tiny_task)
    for one, two in zip(masks(first), masks(both), strict=True):
        assert bool((one.keep | ~two.keep).all())
        assert two.block == (1, 1)


def test_a_tile_has_elements():
    with pytest.raises(ShapeError, match=r"block got rows=0. Give a whole number, 1 or more, as in block\(4, 1\)."):
        block(0, 1)
    with pytest.raises(ShapeError, match="block got columns=1.5"):
        block(4, 1.5)
