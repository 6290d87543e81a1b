"""Fashion-MNIST, all of it."""

from __future__ import annotations

from pathlib import Path

from flyweight.core.task import Task
from flyweight.learn.augment.flip import flip
from flyweight.learn.augment.translate import translate
from flyweight.tasks.fashion_files import read_fashion
from flyweight.tasks.survey_task import survey_task


def fashion(folder: Path | str | None = None, epochs: int = 10) -> Task:
    """Grey 28×28 images of ten kinds of clothing: 55,000 train, 5,000 select, 10,000 report, all balanced.

    ``calibrate`` is the first 1,024 of train; ``report`` is the original's test set. The files are looked for as
    :func:`flyweight.tasks.fashion_files.read_fashion` says. ``augment`` is the survey's flip and move, by a pixel at
    most: garments stand in the middle of the image. Source: Xiao, Rasul and Vollgraf, 2017, arXiv 1708.07747.
    """
    full = read_fashion(folder)
    train = full["train_images"], full["train_labels"]
    report = full["test_images"], full["test_labels"]
    return survey_task(
        "fashion", train, report, held_back=5000, calibrate=1024, epochs=epochs, augment=(flip(), translate(1 / 28))
    )
