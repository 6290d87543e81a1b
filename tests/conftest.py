"""What tests share: one thread, quiet libraries, and a task that takes a second (``tests/tiny.py``)."""

from __future__ import annotations

import os

# Before torch is loaded: workers of xdist share the cores, and results should not hang on their number.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import copy
import dataclasses
import signal

import pytest
import torch

import tiny
from flyweight.core.task import Task


@pytest.fixture(autouse=True)
def _same_start() -> None:
    """Each test starts from one seed, one thread and Python's own Ctrl-C, so that it hangs on nothing before it.

    A shell starts what runs in the background with Ctrl-C ignored, and the tests of Ctrl-C would then see none.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def _tiny_task() -> Task:
    return tiny.task()


@pytest.fixture(scope="session")
def _residual_task() -> Task:
    return tiny.residual_task()


@pytest.fixture
def tiny_task(_tiny_task: Task) -> Task:
    """A trained two-convolution network on 8×8 images of four classes; the model is the test's own copy."""
    return _own(_tiny_task)


@pytest.fixture
def residual_task(_residual_task: Task) -> Task:
    """A trained residual network with a depthwise convolution, on the same images."""
    return _own(_residual_task)


@pytest.fixture
def fresh_task() -> Task:
    """The two-convolution network untrained, with a ``Train`` step of two epochs as its ``train``."""
    return tiny.fresh_task()


def _own(task: Task) -> Task:
    return dataclasses.replace(task, model=copy.deepcopy(task.model))
