"""Networks of random widths, and a task around them that nothing is learnt from."""

import torch
from torch import nn
from torch.nn import functional as F

import tiny
from flyweight.core.task import Task
from flyweight.surgery.mask import Mask


def masks(model):
    """The masks of ``model``, in its order."""
    return [module for module in model.modules() if isinstance(module, Mask)]


def random_net(widths, seed=0, inputs=4):
    """Linear layers of ``widths``, the first reading ``inputs``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = zip([inputs, *widths], widths, strict=False)
        return nn.Sequential(nn.Flatten(), *(nn.Linear(a, b) for a, b in sizes))


def plain_task(model, *example):
    """A task whose model is ``model``; its data belong to another."""
    example = example or (torch.zeros(2, 4),)
    return Task(name="plain", model=model, example=example, data=tiny.splits(), loss=None, quality=None)


class Unfollowed(nn.Module):
    """A convolution's tokens, a feed-forward part on a residual; a branch on values, so that no trace follows it."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(1, 8, 3), nn.Linear(8, 16), nn.Linear(16, 8)
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        if not torch.compiler.is_compiling() and x.mean() < -1e9:
            raise ValueError
        x = F.relu(self.stem(x)).flatten(2).transpose(1, 2)
        return self.head(self.norm(x + self.two(F.gelu(self.one(x)))).mean(1))
