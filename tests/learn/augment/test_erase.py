"""Erasing: one rectangle an image, of the size that was asked for."""

import torch

from flyweight.learn.augment.erase import erase


def test_one_rectangle_of_the_area_is_set_to_the_value():
    images = torch.ones(200, 2, 32, 32)
    erased = erase(p=1.0, area=(0.1, 0.2), ratio=(0.5, 2.0), value=-3.0)(images)
    assert set(erased.unique().tolist()) == {-3.0, 1.0}
    for image in erased[:, 0] < 0:
        rows, columns = image.any(1).nonzero(), image.any(0).nonzero()
        height, width = int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)
        assert int(image.sum()) == height * width, "it is a rectangle"
        assert 0.07 <= height * width / 1024 <= 0.23
        assert 0.4 <= height / width <= 2.5
    assert erased[:, 0].equal(erased[:, 1])


def test_about_p_of_the_images_are_erased():
    erased = erase(p=0.25)(torch.ones(400, 1, 16, 16))
    assert 60 < int((erased == 0).flatten(1).any(1).sum()) < 145
