"""Rotation: where a bright spot goes."""

import math

import torch

from flyweight.learn.augment.rotate import rotate


def test_a_spot_turns_about_the_centre():
    images = torch.zeros(200, 1, 33, 33)
    images[:, 0, 15:18, 27:30] = 1.0  # a spot at 12 pixels to the right of the centre
    turned = rotate(degrees=30)(images)
    places = torch.arange(33.0) - 16
    mass = turned.sum((1, 2, 3))
    x = (turned.sum(2).squeeze(1) * places).sum(1) / mass
    y = (turned.sum(3).squeeze(1) * places).sum(1) / mass
    angles = torch.atan2(y, x) * 180 / math.pi
    assert float((x**2 + y**2).sqrt().sub(12).abs().max()) < 0.3
    assert float(angles.abs().max()) <= 30.5
    assert float(angles.min()) < -22
    assert float(angles.max()) > 22
