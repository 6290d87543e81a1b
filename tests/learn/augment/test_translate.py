"""Translation: a ramp shows how far each image went."""

import torch

from flyweight.learn.augment.translate import translate


def test_images_move_by_up_to_the_fraction_and_zeros_come_in():
    images = torch.arange(1.0, 33.0).expand(300, 1, 32, 32).clone()
    moved = translate(fraction=3 / 32)(images)
    shift = images[:, 0, 16, 16] - moved[:, 0, 16, 16]  # along the ramp, a move by d pixels lowers values by d
    assert float(shift.abs().max()) <= 3 + 1e-3
    assert float(shift.min()) < -2
    assert float(shift.max()) > 2
    assert abs(float(shift.mean())) < 0.4
    rightwards = shift > 1
    assert moved[rightwards][:, :, :, 0].abs().max() == 0
