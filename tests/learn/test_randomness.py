"""Seeds and states of the generators."""

import random

import numpy as np
import torch

from flyweight.learn.randomness import derived, preserved, reseed, restore, snapshot

CPU = torch.device("cpu")


def drawn():
    return torch.rand(3).tolist(), random.random(), np.random.rand()  # noqa: NPY002 (the one that is seeded)


def test_seeds_are_the_same_everywhere_and_differ_by_every_part():
    assert derived("epoch", 0, 1) == 8792552924816323842
    assert len({derived("epoch", seed, epoch) for seed in range(30) for epoch in range(30)}) == 900


def test_reseed_sets_every_generator():
    reseed("a", 1)
    first = drawn()
    reseed("a", 1)
    assert drawn() == first
    reseed("a", 2)
    assert drawn() != first


def test_a_snapshot_brings_back_the_future():
    tensors, plain = snapshot(CPU)
    first = drawn()
    restore(tensors, plain, CPU)
    assert drawn() == first


def test_preserved_leaves_no_trace():
    tensors, plain = snapshot(CPU)
    expected = drawn()
    restore(tensors, plain, CPU)
    with preserved(CPU):
        reseed("other")
        drawn()
    assert drawn() == expected
