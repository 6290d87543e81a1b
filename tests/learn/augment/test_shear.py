"""Shear: straight lines stay straight, and the centre stays."""

import torch

from flyweight.learn.augment.shear import shear


def test_the_centre_stays_and_the_edges_slant():
    images = torch.zeros(100, 1, 33, 33)
    images[:, :, :, 15:18] = 1.0  # an upright bar through the centre
    slanted = shear(degrees=20)(images)
    places = torch.arange(33.0)
    centres = (slanted.squeeze(1) * places).sum(2) / slanted.squeeze(1).sum(2)
    top, middle, bottom = centres[:, 6], centres[:, 16], centres[:, 26]
    assert float((middle - 16).abs().max()) < 0.6
    assert float((top + bottom - 2 * middle).abs().max()) < 0.5, "a line stays a line"
    assert float((bottom - top).abs().max()) > 3
    # Both axes slant: x by tan(20°) a pixel at most, and y stretches the bar's own slope a little.
    assert float((bottom - top).abs().max()) < 20 * 0.364 * 1.3
