"""Your own model, data and metric: nothing in flyweight knows of them.

Five kinds of tops (T-shirt, pullover, dress, coat, shirt) at 14×14 pixels, a small residual network with depthwise
convolutions, and macro-F1 in place of accuracy, since the shop sells fewer coats than T-shirts:

    flyweight optimize examples/own_model.py:task --out run-own/
    python examples/own_model.py

Either takes two to four minutes on two cores. A network of 25 microseconds is bound by the calls between its layers,
so its int8 twin saves bytes and no time: the table says so, for it is measured.
"""

from __future__ import annotations

import sys
from importlib.resources import files

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import flyweight as fw
from flyweight.learn.augment.flip import flip

KINDS = (0, 2, 3, 4, 6)  # of Fashion-MNIST's ten classes
SHARES = (1.0, 0.8, 0.6, 0.4, 0.6)


class Block(nn.Module):
    """Depthwise 3×3 → 1×1, beside a shortcut that is a strided 1×1 where the size changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
        self.norm1 = nn.BatchNorm2d(inputs)
        self.pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(N, inputs, H, W)`` to ``(N, outputs, ⌈H / stride⌉, ⌈W / stride⌉)``."""
        y = F.relu6(self.norm1(self.depthwise(x)))
        return F.relu(self.norm2(self.pointwise(y)) + self.shortcut(x))


class TopsNet(nn.Module):
    """A stem, three blocks, the mean over the image, a classifier."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        a, b, c = (max(4, round(n * width)) for n in (24, 48, 96))
        self.stem = nn.Sequential(nn.Conv2d(1, a, 3, padding=1, bias=False), nn.BatchNorm2d(a), nn.ReLU())
        self.blocks = nn.Sequential(Block(a, a, 1), Block(a, b, 2), Block(b, c, 2))
        self.head = nn.Linear(c, len(KINDS))

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(N, 1, 14, 14)`` to logits ``(N, 5)``."""
        x = self.blocks(self.stem(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def loss(forward, batch) -> Tensor:
    """Cross-entropy."""
    images, kinds = batch
    return F.cross_entropy(forward(images), kinds)


def macro_f1(forward, batches) -> float:
    """The mean over kinds of F1 = 2·hits / (predicted + true): a rare kind counts as much as a common one."""
    confusion = np.zeros((len(KINDS), len(KINDS)), int)  # true × predicted
    for images, kinds in batches:
        with torch.no_grad():
            predicted = np.asarray(forward(images)).argmax(1)
        np.add.at(confusion, (np.asarray(kinds), predicted), 1)
    hits = confusion.diagonal()
    return float(np.mean(2 * hits / np.maximum(confusion.sum(0) + confusion.sum(1), 1)))


def _split(images: np.ndarray, labels: np.ndarray, start: float, stop: float) -> TensorDataset:
    places = []
    for kind, share in zip(KINDS, SHARES, strict=True):
        own = np.flatnonzero(labels == kind)
        own = own[: int(share * len(own))]
        places.append(own[int(start * len(own)) : int(stop * len(own))])
    chosen = np.sort(np.concatenate(places))
    small = images[chosen].reshape(-1, 14, 2, 14, 2).mean((2, 4)) / 255
    kinds = np.searchsorted(KINDS, labels[chosen])
    return TensorDataset(torch.tensor(small, dtype=torch.float32).unsqueeze(1), torch.tensor(kinds))


def task(epochs: int = 4) -> fw.Task:
    """2,890 images to learn from, 510 to select by, 680 to report on."""
    with np.load(str(files("flyweight.tasks") / "data" / "fashion_mini.npz")) as kept:
        train = kept["train_images"], kept["train_labels"]
        test = kept["test_images"], kept["test_labels"]
    torch.manual_seed(0)
    return fw.Task(
        name="tops",
        model=TopsNet(),
        example=(torch.zeros(2, 1, 14, 14),),
        data=fw.Splits(
            train=_split(*train, 0, 0.85),
            calibrate=_split(*train, 0, 0.1),
            select=_split(*train, 0.85, 1),
            report=_split(*test, 0, 1),
        ),
        loss=loss,
        quality=macro_f1,
        family=TopsNet,
        train=fw.Train(epochs=epochs, optimizer=fw.adam(lr=1e-2)),
        augment=(flip(),),
    )


def main() -> None:
    """Finds the frontier and says which model to take."""
    out = sys.argv[1] if len(sys.argv) > 1 else "run-own"
    frontier = fw.optimize(fw.load_task(f"{__file__}:task"), out=out)
    print(frontier)
    baseline = frontier.baseline
    assert baseline is not None
    best = frontier.best(size_bytes=baseline.footprint.size_bytes / 2)
    print(f"\nAt half the bytes or less: {best.label}, F1 {best.quality.value:.3f} of {baseline.quality.value:.3f}")
    print(f"report: {out}/report.html")


if __name__ == "__main__":
    main()
