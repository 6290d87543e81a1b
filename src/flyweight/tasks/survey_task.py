"""The survey's experiment as a task: any grey 28×28 images, its network, its training, its augmentation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from flyweight.core.task import Splits, Task
from flyweight.learn.augment.erase import erase
from flyweight.learn.augment.flip import flip
from flyweight.learn.augment.translate import translate
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.models.survey_cnn import survey_cnn
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy

MEAN, STD = 0.286, 0.353
"""Of the pixels, 0…1, of the full set's 55,000 training images; those of the 8,500 differ by less than 0.002."""


def survey_task(
    name: str,
    train: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    report: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    held_back: int,
    calibrate: int,
    epochs: int,
) -> Task:
    """A ten-class task of images ``(N, 28, 28)`` in 0…255 and labels ``(N,)``.

    The last ``held_back / 10`` images of each class of ``train`` are ``select``, the first ``calibrate`` of the others
    are ``calibrate`` too. Inputs are ``(pixel / 255 − MEAN) / STD``, float32, ``(N, 1, 28, 28)``.
    """
    images, labels = train
    selected = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        selected[np.flatnonzero(labels == label)[-(held_back // 10) :]] = True
    learnt = _normalised(images[~selected], labels[~selected])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = survey_cnn()
    return Task(
        name=name,
        model=model,
        example=(learnt.tensors[0][:2],),
        data=Splits(
            train=learnt,
            calibrate=TensorDataset(*(t[:calibrate] for t in learnt.tensors)),
            select=_normalised(images[selected], labels[selected]),
            report=_normalised(*report),
        ),
        loss=cross_entropy,
        quality=accuracy,
        family=survey_cnn,
        train=Train(epochs=epochs, optimizer=adam(lr=1e-3)),
        augment=(flip(), translate(3 / 32), erase()),
    )


def _normalised(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> TensorDataset:
    pixels = torch.from_numpy(images.astype(np.float32)).unsqueeze(1)
    return TensorDataset(pixels.div_(255).sub_(MEAN).div_(STD), torch.from_numpy(labels.astype(np.int64)))
