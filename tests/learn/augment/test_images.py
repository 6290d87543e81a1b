"""What every augmentation keeps: shape, dtype, the inputs themselves, the seed; and its identity setting."""

import dataclasses

import pytest
import torch

from flyweight.core.errors import FlyweightError, ShapeError
from flyweight.core.serial import from_json, to_json
from flyweight.learn.augment.crop import crop
from flyweight.learn.augment.erase import erase
from flyweight.learn.augment.flip import flip
from flyweight.learn.augment.randaugment import randaugment
from flyweight.learn.augment.rotate import rotate
from flyweight.learn.augment.shear import shear
from flyweight.learn.augment.translate import translate

ALL = [flip(), translate(), crop(), rotate(), shear(), erase(), randaugment()]
IDENTITIES = [
    *(flip(p=0.0), translate(p=0.0), translate(fraction=0.0), rotate(p=0.0), rotate(degrees=0.0), shear(p=0.0)),
    *(shear(degrees=0.0), erase(p=0.0), randaugment(count=0), crop(padding=0)),
]


def name_of(one):
    return type(one).__name__


@pytest.mark.parametrize("one", ALL, ids=name_of)
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (3, 3, 17, 12), (1, 2, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_dtype_and_inputs_are_kept(one, shape, dtype):
    inputs = torch.rand(shape, dtype=dtype)
    before = inputs.clone()
    for _ in range(3):
        outputs = one(inputs)
        assert outputs.shape == inputs.shape
        assert outputs.dtype == dtype
        assert outputs.isfinite().all()
    assert inputs.equal(before)


@pytest.mark.parametrize("one", IDENTITIES, ids=repr)
def test_the_identity_setting_draws_and_changes_nothing(one):
    inputs, state = torch.randn(4, 1, 8, 8), torch.get_rng_state()
    assert one(inputs) is inputs
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_torchs_generator_decides_it_all(one):
    inputs = torch.rand(16, 1, 14, 14)
    torch.manual_seed(3)
    first = one(inputs)
    state = torch.get_rng_state()
    second = one(inputs)
    torch.manual_seed(3)
    assert one(inputs).equal(first)
    torch.set_rng_state(state)
    assert one(inputs).equal(second)


@pytest.mark.parametrize("one", [translate(), crop(), rotate(), shear(), erase(p=1.0)], ids=name_of)
def test_every_image_gets_its_own(one):
    same = torch.rand(1, 1, 14, 14).repeat(8, 1, 1, 1)
    outputs = one(same)
    assert not outputs.equal(same)
    assert len({tuple(image.flatten().tolist()) for image in outputs}) > 4


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_what_is_no_image_is_refused(one):
    for wrong in (torch.rand(4, 8), torch.zeros(4, 1, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ShapeError, match=rf"{name_of(one)} takes images \(N, C, H, W\).*Convert the data"):
            one(wrong)


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_they_are_frozen_and_json(one):
    assert from_json(to_json(one)) == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.p = 1.0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: flip(p=1.5), "flip got p=1.5. Give a number from 0 to 1"),
        (lambda: translate(fraction=-0.1), "translate got fraction=-0.1"),
        (lambda: crop(-1), "crop got padding=-1. Give a whole number of pixels, 0 or more"),
        (lambda: crop(1.5), "crop got padding=1.5. Give a whole number"),
        (lambda: crop(True), "crop got padding=True"),
        (lambda: rotate(degrees=200), "rotate got degrees=200. Give a number from 0 to 180"),
        (lambda: shear(degrees=-5), "shear got degrees=-5"),
        (lambda: erase(area=(0.0, 0.5)), r"erase got area=\(0.0, 0.5\). Give the least and the most"),
        (lambda: erase(ratio=(2.0, 1.0)), r"erase got ratio=\(2.0, 1.0\)"),
        (lambda: randaugment(count=15), "randaugment got count=15. Give a number from 0 to 14"),
        (lambda: randaugment(magnitude=30), "randaugment got magnitude=30. Give a number above 0 and below 30"),
        (lambda: randaugment(bounds=(1.0, 0.0)), r"randaugment got bounds=\(1.0, 0.0\)"),
    ],
)
def test_fields_are_checked(make, text):
    with pytest.raises(FlyweightError, match=text):
        make()
