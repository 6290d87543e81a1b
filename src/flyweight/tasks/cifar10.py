"""CIFAR-10, all of it: the data of most papers on small models."""

from __future__ import annotations

import functools
from pathlib import Path

from flyweight.core.task import Task
from flyweight.learn.augment.crop import crop
from flyweight.learn.augment.flip import flip
from flyweight.models.survey_cnn import survey_cnn
from flyweight.tasks.cifar10_files import read_cifar10
from flyweight.tasks.survey_task import survey_task


def cifar10(folder: Path | str | None = None, epochs: int = 20) -> Task:
    """Colour 32×32 photographs of ten kinds of thing: 45,000 train, 5,000 select, 10,000 report, all balanced.

    ``calibrate`` is the first 1,024 of train; ``report`` is the original's test set. The files are looked for as
    :func:`flyweight.tasks.cifar10_files.read_cifar10` says. ``augment`` is what papers on these data use: the flip, and
    a window of the image with a border of four zeros. Source: Krizhevsky, 2009, "Learning Multiple Layers of Features
    from Tiny Images".
    """
    full = read_cifar10(folder)
    train = full["train_images"], full["train_labels"]
    report = full["test_images"], full["test_labels"]
    return survey_task(
        "cifar10",
        train,
        report,
        held_back=5000,
        calibrate=1024,
        epochs=epochs,
        augment=(flip(), crop(4)),
        family=functools.partial(survey_cnn, channels=3, size=32),
    )
