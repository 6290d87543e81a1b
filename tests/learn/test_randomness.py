"""Seeds and states of the generators."""

import random

import numpy as np
import torch

from flyweight.learn.randomness import derived, preserved, reseed

CPU = torch.device("cpu")


def drawn():
    return torch.rand(3).tolist(), random.random(), np.random.rand()  # noqa: NPY002 (the one that is seeded)


def test_seeds_are_the_same_everywhere_and_differ_by_every_part():
    assert derived("epoch", 0, 1) == 8792552924816323842
    assert len({derived("epoch", seed, epoch) for seed in range(30) for epoch in range(30)}) == 900


def test_reseed_sets_every_generator():
    reseed(CPU, "a", 1)
    first = drawn()
    reseed(CPU, "a", 1)
    assert drawn() == first
    reseed(CPU, "a", 2)
    assert drawn() != first


def test_preserved_leaves_no_trace():
    reseed(CPU, "before")
    expected = drawn()
    reseed(CPU, "before")
    with preserved(CPU):
        reseed(CPU, "other")
        assert drawn() != expected
    assert drawn() == expected


def test_torch_is_seeded_as_it_seeds_itself():
    reseed(CPU, "a", 1)
    first = drawn()
    torch.manual_seed(derived("a", 1))
    assert torch.rand(3).tolist() == first[0]
