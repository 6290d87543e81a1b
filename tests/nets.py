"""Networks of random widths, and a task around them that nothing is learnt from."""

import torch
from torch import nn

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
