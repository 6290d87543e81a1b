"""Small networks of the shapes that the sparse kernels meet, pruned at random: no part of flyweight prunes them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.core.task import Task


class Inverted(nn.Module):
    """An inverted residual block as MobileNetV2's; without an expansion where ``expand`` is 1."""

    def __init__(self, inputs: int, outputs: int, expand: int = 4, stride: int = 1, kernel: int = 3) -> None:
        super().__init__()
        hidden = inputs * expand
        parts: list[nn.Module] = []
        if expand != 1:
            parts += [nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6()]
        self.body = nn.Sequential(
            *parts,
            nn.Conv2d(hidden, hidden, kernel, stride, kernel // 2, groups=hidden, bias=False),
            *(nn.BatchNorm2d(hidden), nn.ReLU6(), nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


class Mobile(nn.Module):
    """A stem, three inverted residual blocks, a wide pointwise convolution, a classifier."""

    def __init__(self, channels: int = 12, wide: int = 40) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU6())
        self.blocks = nn.Sequential(
            Inverted(channels, channels, 1), Inverted(channels, channels), Inverted(channels, 2 * channels, stride=2)
        )
        self.head = nn.Sequential(nn.Conv2d(2 * channels, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6())
        self.classifier = nn.Linear(wide, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.head(self.blocks(self.stem(x))).mean((2, 3)))


class Residual(nn.Module):
    """Two residual blocks of 3×3 convolutions, one of which changes the size; odd channel counts, hard-swish."""

    def __init__(self, channels: int = 13) -> None:
        super().__init__()
        wide = 2 * channels + 1
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.one, self.two = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.three, self.four = nn.Conv2d(channels, wide, 3, 2, 1), nn.Conv2d(wide, wide, 3, padding=2, dilation=2)
        self.shortcut = nn.Conv2d(channels, wide, 1, 2)
        self.head = nn.Linear(wide, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.two(F.relu(self.one(x))))
        x = F.relu(self.four(F.hardswish(self.three(x))) + self.shortcut(x))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Encoder(nn.Module):
    """A block of a transformer, before it an embedding of the tokens' numbers, after it a classifier."""

    def __init__(self, dim: int = 20, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.enter = nn.Linear(6, dim)
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim, bias=False)
        self.norm1, self.norm2, self.head = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.Linear(dim, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        q, k, v = (f(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        mixed = torch.softmax(q @ k.transpose(2, 3), -1) @ v
        x = self.norm1(x + self.out(mixed.transpose(1, 2).flatten(2)))
        x = self.norm2(x + self.down(F.gelu(self.up(x))))
        return self.head(x.mean(1))


def pruned(model: nn.Module, ratio: float = 0.8, block: int = 4, seed: int = 0) -> nn.Module:
    """``model`` with norms and biases of some size, and random tiles of ``block`` × 1 of each dense weight zero, in
    evaluation mode. Depthwise weights, and those of the few-channel stem, stay."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                for tensor in (module.bias, module.running_mean):
                    tensor.uniform_(-0.5, 0.5, generator=generator)
            elif isinstance(module, nn.Conv2d | nn.Linear) and module.weight.shape[1] > 3:
                weight = module.weight
                groups = -(-len(weight) // block)
                keep = torch.rand(groups, *weight.shape[1:], generator=generator) >= ratio
                weight.mul_(keep.repeat_interleave(block, 0)[: len(weight)])
    return model.eval().requires_grad_(False)


def image_task(model: nn.Module, size: int = 16) -> Task:
    """What exporting asks of a task of images."""
    return _task(model, torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1)))


def token_task(model: nn.Module, tokens: int = 9) -> Task:
    """What exporting asks of a task of sequences."""
    return _task(model, torch.randn(2, tokens, 6, generator=torch.Generator().manual_seed(1)))


def _task(model: nn.Module, x: Tensor) -> Task:
    return Task(name="sparse", model=model, example=(x,), data=None, loss=None, quality=None)  # type: ignore[arg-type]
