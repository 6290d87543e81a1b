"""CIFAR-10 as a task, on files of the same form with a hundred images of each class."""

import functools
import hashlib

import numpy as np
import pytest
import torch

from flyweight.core.key import task_key
from flyweight.learn.augment.crop import crop
from flyweight.learn.augment.flip import flip
from flyweight.learn.train import Train
from flyweight.models.resize import Resize
from flyweight.models.survey_cnn import survey_cnn
from flyweight.tasks import cifar10 as module
from flyweight.tasks import cifar10_files
from flyweight.tasks.cifar10 import cifar10
from flyweight.tasks.load import load_task
from flyweight.tasks.survey_task import survey_task


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of six files, and the records that they hold."""
    generator, folder = np.random.default_rng(0), tmp_path_factory.mktemp("cifar")
    contents = {}
    for name in cifar10_files.FILES:
        rows = generator.integers(0, 256, (200, 3073), dtype=np.uint8)
        rows[:, 0] = generator.permutation(200) % 10
        (folder / name).write_bytes(rows.tobytes())
        contents[name] = rows
    return folder, contents


@pytest.fixture
def small(files, monkeypatch):
    """The task on those files, with 200 images held back in place of 5,000, and 64 to calibrate on."""
    folder, contents = files
    digests = {name: hashlib.sha256(rows.tobytes()).hexdigest() for name, rows in contents.items()}
    monkeypatch.setattr(cifar10_files, "FILES", digests)

    def few(*args, **more):
        assert (more["held_back"], more["calibrate"]) == (5000, 1024)
        return survey_task(*args, **{**more, "held_back": 200, "calibrate": 64})

    monkeypatch.setattr(module, "survey_task", few)
    monkeypatch.setenv("FLYWEIGHT_DATA", str(folder))
    return functools.partial(cifar10, folder)


def _labels(split):
    return torch.bincount(split.tensors[1], minlength=10).tolist()


def test_the_splits_are_balanced_and_as_large_as_told(small):
    task = small(epochs=3)
    assert task.name == "cifar10"
    assert _labels(task.data.train) == [80] * 10
    assert _labels(task.data.select) == [20] * 10
    assert _labels(task.data.report) == [20] * 10
    assert len(task.data.calibrate) == 64
    assert task.train.epochs == 3


def test_select_is_the_last_of_each_class_and_report_the_test_set(small, files):
    task, rows = small(), np.concatenate([*files[1].values()][:5])
    last = np.sort(np.concatenate([np.flatnonzero(rows[:, 0] == label)[-20:] for label in range(10)]))
    others = np.setdiff1d(np.arange(1000), last)
    calibrate = others[:64]
    for split, wanted in (
        ("train", rows[others]),
        ("calibrate", rows[calibrate]),
        ("select", rows[last]),
        ("report", files[1]["test_batch.bin"]),
    ):
        images, labels = getattr(task.data, split).tensors
        assert labels.tolist() == wanted[:, 0].tolist()
        assert images.dtype == torch.float32
        planes = np.stack([wanted[:, 1 + 1024 * c : 1 + 1024 * (c + 1)].reshape(-1, 32, 32) for c in range(3)], 1)
        assert images.equal(torch.from_numpy(planes).float() / 255)


def test_the_model_fits_and_is_the_same_each_time(small):
    torch.manual_seed(1)
    task = small()
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again = load_task("cifar10")
    assert torch.get_rng_state().equal(torch.Generator().manual_seed(2).get_state())
    assert state.equal(torch.Generator().manual_seed(1).get_state())  # making a task draws nothing
    assert task_key(again) == task_key(task)
    for one, two in zip(task.model.state_dict().values(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert task.example[0].shape == (2, 3, 32, 32)
    assert task.model.eval()(*task.example).shape == (2, 10)
    batch = tuple(t[:8] for t in task.data.train.tensors)
    assert task.loss(task.model, batch).item() == pytest.approx(2.3, abs=0.2)


def test_the_family_is_the_survey_s_for_these_images(small):
    task = small()
    assert task.family(1.0).state_dict().keys() == task.model.state_dict().keys()
    narrow, known = task.family(0.25), survey_cnn(0.25, channels=3, size=32)
    assert [v.shape for v in narrow.state_dict().values()] == [v.shape for v in known.state_dict().values()]
    resized = Resize(0.25)(task.model, task).eval()
    assert resized(*task.example).shape == (2, 10)
    assert sum(p.numel() for p in resized.parameters()) == sum(p.numel() for p in known.parameters())


def test_the_augmentation_of_the_papers_keeps_the_form(small):
    task = small()
    assert task.augment == (flip(), crop(4))
    images = task.data.train.tensors[0][:16]
    for augment in task.augment:
        changed = augment(images)
        assert changed.shape == images.shape
        assert changed.dtype == images.dtype
        assert 0 <= changed.min() <= changed.max() <= 1


def test_it_can_be_trained(small):
    task = small()
    narrow = Resize(0.1)(task.model, task)
    step = Train(epochs=1, batch_size=200, augment=task.augment)
    trained = step(narrow, task)
    before, after = (next(iter(m.state_dict().values())) for m in (narrow, trained))
    assert not before.equal(after)
    assert all(v.isfinite().all() for v in trained.state_dict().values())


def test_grey_images_get_their_channel():
    images = np.arange(20 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(20, 28, 28)
    labels = (np.arange(20) % 10).astype(np.uint8)
    both = images, labels
    task = survey_task("grey", both, both, held_back=10, calibrate=4, epochs=1, augment=())
    assert task.data.train.tensors[0].shape == (10, 1, 28, 28)
    assert task.data.train.tensors[0][:, 0].equal(torch.from_numpy(images[:10]).float() / 255)
    assert task.model(*task.example).shape == (2, 10)
