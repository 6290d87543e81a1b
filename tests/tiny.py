"""A task that takes a second: 8×8 images of four noisy patterns, and two networks of a few thousand weights.

Tests get it as the fixtures of ``conftest.py``; the command line and child processes as ``tests/tiny.py:task``.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from flyweight.core.task import Splits, Task
from flyweight.tasks.accuracy import accuracy
from flyweight.tasks.cross_entropy import cross_entropy

CLASSES = 4


def images(count: int, seed: int) -> TensorDataset:
    """``count`` images ``(1, 8, 8)``, class by class in turn, each its class's pattern under noise."""
    patterns = torch.randn(CLASSES, 1, 8, 8, generator=torch.Generator().manual_seed(7))
    noise = torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    labels = torch.arange(count) % CLASSES
    return TensorDataset(patterns[labels] + 2.0 * noise, labels)


def splits() -> Splits:
    """512 to learn from, 64 of them to calibrate, 256 to select by, 256 to report on."""
    train = images(512, 1)
    calibrate = TensorDataset(*(t[:64] for t in train.tensors))
    return Splits(train=train, calibrate=calibrate, select=images(256, 2), report=images(256, 3))


def tiny_cnn(width: float = 1.0) -> nn.Module:
    """Two convolutions and a classifier: 1,532 weights at width 1."""
    a, b = max(1, round(8 * width)), max(1, round(16 * width))
    return nn.Sequential(
        *(nn.Conv2d(1, a, 3, padding=1, bias=False), nn.BatchNorm2d(a), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4 * b, CLASSES)),
    )


class TinyResidual(nn.Module):
    """A stem, a residual block, a depthwise convolution under ReLU6, global pooling, a classifier."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
        self.one = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
        self.two = nn.Sequential(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
        )
        self.head = nn.Linear(channels, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(self.one(x) + x)
        x = F.adaptive_avg_pool2d(self.two(x), 1).flatten(1)
        return self.head(x)


def taught(model: nn.Module, epochs: int = 4) -> nn.Module:
    """``model`` after a few epochs of plain Adam, in evaluation mode: no part of flyweight is used."""
    train = images(512, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch))
        for part in order.split(64):
            optimizer.zero_grad()
            cross_entropy(model, tuple(t[part] for t in train.tensors)).backward()
            optimizer.step()
    return model.eval()


def _task(model: nn.Module, **more: object) -> Task:
    fields = {"name": "tiny", "loss": cross_entropy, "quality": accuracy, "family": tiny_cnn, **more}
    return Task(model=model, example=(torch.zeros(2, 1, 8, 8),), data=splits(), **fields)


def task() -> Task:
    """The convolutional network, trained, on the patterns."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _task(taught(tiny_cnn()))


def residual_task() -> Task:
    """The residual network, trained; it has no family."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _task(taught(TinyResidual(), epochs=8), name="tiny-residual", family=None)


def fresh_task(epochs: int = 2) -> Task:
    """The convolutional network untrained, with the step that trains it."""
    from flyweight.learn.optimizers import adam
    from flyweight.learn.train import Train

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _task(tiny_cnn(), name="tiny-fresh", train=Train(epochs=epochs, optimizer=adam(lr=5e-3)))


def uneven_task() -> Task:
    """That one with 83 examples, five batches of 16 and 3 over, which two processes can't share evenly; on the CPU."""
    from flyweight.learn.fit import Fit

    task = fresh_task()
    small = TensorDataset(*(t[:83] for t in task.data.train.tensors))
    fit = Fit(device="cpu", precision="no", accumulate=2, checkpoint_seconds=0)
    return replace(task, data=replace(task.data, train=small), fit=fit)
