"""RandAugment on images of any number of channels and any range of values."""

import torch

from flyweight.learn.augment.randaugment import randaugment


def test_values_stay_within_the_bounds():
    for channels in (1, 2, 3):
        images = torch.rand(4, channels, 12, 12) * 3 - 1
        for _ in range(40):
            changed = randaugment(count=1, magnitude=20, bounds=(-1.0, 2.0))(images)
            assert float(changed.min()) >= -1
            assert float(changed.max()) <= 2


def test_normalised_images_change_as_plain_ones_do():
    images = torch.rand(4, 1, 12, 12)
    torch.manual_seed(1)
    plain = randaugment()(images)
    torch.manual_seed(1)
    normalised = randaugment(bounds=(-0.5 / 0.25, 0.5 / 0.25))((images - 0.5) / 0.25)
    torch.testing.assert_close(normalised * 0.25 + 0.5, plain, atol=1e-5, rtol=0)
    assert not plain.equal(images)
