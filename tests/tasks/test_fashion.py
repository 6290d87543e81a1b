import gzip
import hashlib

import numpy as np
import pytest
import torch

from flyweight.core.key import task_key
from flyweight.tasks import fashion_files
from flyweight.tasks.fashion import fashion
from flyweight.tasks.fashion_mini import fashion_mini
from flyweight.tasks.load import load_task


@pytest.fixture(scope="module")
def mini():
    return fashion_mini()


def _labels(split):
    return torch.bincount(split.tensors[1]).tolist()


def test_the_splits_are_balanced_and_as_large_as_told(mini):
    assert _labels(mini.data.train) == [850] * 10
    assert _labels(mini.data.select) == [150] * 10
    assert _labels(mini.data.report) == [200] * 10
    assert len(mini.data.calibrate) == 512
    assert min(_labels(mini.data.calibrate)) > 30


def test_no_image_is_in_two_splits(mini):
    def prints(split):
        return {hashlib.sha256(image.numpy().tobytes()).digest() for image in split.tensors[0]}

    train, select, report = (prints(s) for s in (mini.data.train, mini.data.select, mini.data.report))
    # The author's data have twins of their own: a handful of equal images among 70,000.
    assert len(train & select) + len(train & report) + len(select & report) <= 2
    assert prints(mini.data.calibrate) <= train


def test_inputs_are_pixels_over_255(mini):
    images = mini.data.train.tensors[0]
    assert images.shape == (8500, 1, 28, 28)
    assert images.dtype == torch.float32
    pixels = images * 255
    assert torch.equal(pixels.round().clamp(0, 255), pixels.round())
    assert (pixels - pixels.round()).abs().max() < 1e-4
    assert (images == 0).float().mean() > 0.4


def test_the_model_fits_and_is_the_same_each_time(mini):
    again = load_task("fashion-mini")
    assert task_key(again) == task_key(mini)
    for one, two in zip(mini.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert mini.model.eval()(*mini.example).shape == (2, 10)
    assert mini.family(1.0).state_dict().keys() == mini.model.state_dict().keys()
    batch = tuple(t[:8] for t in mini.data.train.tensors)
    assert mini.loss(mini.model, batch).item() == pytest.approx(2.3, abs=0.2)


def test_each_augmentation_keeps_the_form(mini):
    images = mini.data.train.tensors[0][:16]
    for augment in mini.augment:
        changed = augment(images)
        assert changed.shape == images.shape
        assert changed.min() >= -1e-6
        assert changed.max() <= 1 + 1e-6


def test_its_licence_lies_beside_it():
    folder = fashion_files.Path(fashion_files.__file__).parent / "data"
    assert (folder / "fashion_mini.npz").stat().st_size <= 7_000_000
    assert "Copyright © 2017 Zalando SE" in (folder / "LICENSE-fashion-mnist").read_text()


def test_the_full_task_holds_back_the_last_of_each_class(tmp_path, monkeypatch):
    """On files of the same form, with 600 images of each class in place of 6,000."""
    generator = np.random.default_rng(0)
    arrays = {
        "train_images": generator.integers(0, 256, (6000, 28, 28), dtype=np.uint8),
        "train_labels": (np.arange(6000) % 10).astype(np.uint8),
        "test_images": generator.integers(0, 256, (50, 28, 28), dtype=np.uint8),
        "test_labels": (np.arange(50) % 10).astype(np.uint8),
    }
    files = {}
    for part, array in arrays.items():
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        name = fashion_files.FILES[part][0]
        (tmp_path / name).write_bytes(gzip.compress(head + array.tobytes(), 1))
        files[part] = name, hashlib.sha256(head + array.tobytes()).hexdigest()
    monkeypatch.setattr(fashion_files, "FILES", files)
    task = fashion(tmp_path, epochs=3)
    assert _labels(task.data.train) == [100] * 10
    assert _labels(task.data.select) == [500] * 10
    assert len(task.data.report) == 50
    assert len(task.data.calibrate) == 1000
    first = torch.from_numpy(arrays["train_images"][:1000]).float().div(255).unsqueeze(1)
    assert torch.equal(task.data.train.tensors[0], first)
    assert task.train.epochs == 3
