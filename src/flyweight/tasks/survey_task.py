"""The survey's experiment as a task: small images of ten classes, its network, its training."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
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
    family: Callable[..., nn.Module] = survey_cnn,
) -> Task:
    """A ten-class task of images in 0…255, grey ``(N, H, W)`` or of channels ``(N, C, H, W)``, and labels ``(N,)``.

    The last ``held_back / 10`` images of each class of ``train`` are ``select``, the first ``calibrate`` of the others
    are ``calibrate`` too. Inputs are ``pixel / 255``, float32, ``(N, C, H, W)``. No mean is taken off: so black stays
    0, which is what padding, ``translate``, ``crop`` and ``erase`` bring in, and an unsigned 8-bit range of 0…1 holds
    every pixel exactly. The batch-norm after the first convolution does the rest. ``family(width)`` is the survey's
    network for images of that shape.
    """
    images, labels = train
    selected = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        selected[np.flatnonzero(labels == label)[-(held_back // 10) :]] = True
    learnt = _scaled(images[~selected], labels[~selected])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = family()
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
        family=family,
        train=Train(epochs=epochs, optimizer=adam(lr=1e-3)),
        augment=augment,
    )


def _scaled(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> TensorDataset:
    pixels = torch.from_numpy(images.astype(np.float32)).div_(255)
    return TensorDataset(pixels.unsqueeze(1) if pixels.ndim == 3 else pixels, torch.from_numpy(labels.astype(np.int64)))
