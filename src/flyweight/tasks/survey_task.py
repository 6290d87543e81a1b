"""The survey's experiment as a task: any grey 28×28 images, its network, its training, its augmentation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import TensorDataset

from flyweight.core.task import Augment, Splits, Task
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.models.survey_cnn import survey_cnn
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy


def survey_task(
    name: str,
    train: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    report: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    held_back: int,
    calibrate: int,
    epochs: int,
    augment: tuple[Augment, ...],
) -> Task:
    """A ten-class task of images ``(N, 28, 28)`` in 0…255 and labels ``(N,)``.

    The last ``held_back / 10`` images of each class of ``train`` are ``select``, the first ``calibrate`` of the others
    are ``calibrate`` too. Inputs are ``pixel / 255``, float32, ``(N, 1, 28, 28)``. No mean is taken off: so the black
    ground stays 0, which is what padding, ``translate`` and ``erase`` bring in, and an unsigned 8-bit range of 0…1
    holds every pixel exactly. The batch-norm after the first convolution does the rest.
    """
    images, labels = train
    selected = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        selected[np.flatnonzero(labels == label)[-(held_back // 10) :]] = True
    learnt = _scaled(images[~selected], labels[~selected])
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
            select=_scaled(images[selected], labels[selected]),
            report=_scaled(*report),
        ),
        loss=cross_entropy,
        quality=accuracy,
        family=survey_cnn,
        train=Train(epochs=epochs, optimizer=adam(lr=1e-3)),
        augment=augment,
    )


def _scaled(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> TensorDataset:
    pixels = torch.from_numpy(images.astype(np.float32))
    return TensorDataset(pixels.div_(255).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))
