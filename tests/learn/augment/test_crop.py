"""Crops of padded images: against a loop over images, and how often each place is drawn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.learn.augment.crop import crop


def naive(images, padding):
    """Image by image, pixel by pixel, with the same numbers drawn."""
    count, _, height, width = images.shape
    places = torch.randint(0, 2 * padding + 1, (2, count))
    out = torch.zeros_like(images)
    for image in range(count):
        down, across = (int(p) - padding for p in places[:, image])
        for row in range(height):
            for column in range(width):
                if 0 <= row + down < height and 0 <= column + across < width:
                    out[image, :, row, column] = images[image, :, row + down, column + across]
    return out


@given(
    st.integers(1, 4), st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.integers(0, 9), st.integers(0, 99)
)
def test_it_is_the_naive_one(count, channels, height, width, padding, seed):
    images = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed)) + 1
    torch.manual_seed(seed)
    wanted = naive(images, padding) if padding else images
    torch.manual_seed(seed)
    assert crop(padding)(images).equal(wanted)


def test_no_image_is_no_error():
    assert crop(2)(torch.rand(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("padding", [1, 2])
def test_every_place_is_as_likely(padding):
    side, count = 2 * padding + 1, 20_000
    # The one bright pixel in the middle tells where the window was.
    image = torch.zeros(count, 1, 9, 9)
    image[:, :, 4, 4] = 1
    torch.manual_seed(0)
    found = crop(padding)(image).flatten(1).argmax(1)
    down, across = 4 - found // 9 + padding, 4 - found % 9 + padding
    seen = torch.bincount(down * side + across, minlength=side**2)
    assert len(seen) == side**2
    expected = count / side**2
    chi = float(((seen - expected) ** 2 / expected).sum())
    assert chi < side**2 + 4 * (2 * side**2) ** 0.5  # mean and spread of chi² with as many degrees of freedom


def test_a_border_of_zeros_comes_in_on_each_side():
    torch.manual_seed(0)
    moved = crop(3)(torch.ones(400, 2, 8, 8))
    assert set(moved.unique().tolist()) == {0.0, 1.0}
    assert moved[:, 0].equal(moved[:, 1])
    rows, columns = moved[:, 0].amax(2), moved[:, 0].amax(1)
    for line in (rows, columns):
        assert int(line.sum(1).min()) == 5  # never more than the padding is lost
        assert (line[:, 0] == 0).any()
        assert (line[:, -1] == 0).any()
        assert (line.sum(1) == 8).any()


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_the_order_of_bytes_changes_no_value(channels):
    images = torch.rand(6, channels, 10, 12)
    torch.manual_seed(5)
    wanted = crop(4)(images)
    assert wanted.is_contiguous()  # as convolutions of contiguous weights want it
    torch.manual_seed(5)
    assert crop(4)(images.to(memory_format=torch.channels_last)).equal(wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_type_is_kept(dtype):
    images = torch.rand(4, 3, 8, 8).to(dtype)
    moved = crop(2)(images)
    assert moved.dtype == dtype
    assert set(moved.unique().tolist()) <= {0.0, *images.unique().tolist()}


def test_the_inputs_are_not_shared():
    images = torch.rand(2, 1, 4, 4)
    kept = images.clone()
    crop(1)(images).fill_(7)
    assert images.equal(kept)
