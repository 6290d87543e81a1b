"""Mirroring against torch's flip."""

import torch

from flyweight.learn.augment.flip import flip


def test_at_p_1_every_image_is_mirrored():
    images = torch.rand(4, 3, 5, 7)
    assert flip(p=1.0)(images).equal(images.flip(3))


def test_at_p_half_about_half_are():
    images = torch.rand(400, 1, 3, 3)
    outputs = flip()(images)
    mirrored = (outputs == images.flip(3)).flatten(1).all(1)
    kept = (outputs == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 150 < int(mirrored.sum()) < 250
