"""How an epoch is cut into pieces: every example once, weights that sum to the mean."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset, TensorDataset

from flyweight.learn.feed import Feed

CPU = torch.device("cpu")


class Listed(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.tensor([float(index)]), torch.tensor(index)


def tensors(count):
    return TensorDataset(torch.arange(count).float().unsqueeze(1), torch.arange(count))


def feed(dataset, batch=4, pieces=(1, 0, 1), seed=0, workers=0):
    return Feed(dataset, batch, CPU, seed, pieces, workers)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4), st.integers(1, 3))
def test_every_example_counts_once_and_steps_are_means(count, batch, accumulate, processes):
    feeds = [feed(tensors(count), batch, (accumulate, rank, processes)) for rank in range(processes)]
    steps = [list(one.epoch(0)) for one in feeds]
    assert {len(s) for s in steps} == {feeds[0].steps}
    seen = []
    for turn in zip(*steps, strict=True):
        assert len({len(pieces) for pieces in turn}) == 1, "processes must meet at every piece"
        pieces = [piece for of_process in turn for piece in of_process]
        counted = [(indices, weight) for _, indices, weight in pieces if weight]
        size = sum(len(indices) for indices, _ in counted)
        mean = sum(float(indices.float().mean()) * weight for indices, weight in counted) / processes
        assert mean == pytest.approx(float(torch.cat([i for i, _ in counted]).float().mean()), rel=1e-5, abs=1e-5)
        assert sum(weight for _, weight in counted) == pytest.approx(processes)
        assert all(len(indices) for _, indices, _ in pieces)
        assert size > 1 or count == 1 or batch == 1, "no step of one example"
        seen += [int(i) for indices, _ in counted for i in indices]
    assert sorted(seen) == list(range(count))


def test_batches_hold_the_examples_that_the_indices_name():
    for dataset in (tensors(10), Listed(10)):
        for pieces in feed(dataset).epoch(3):
            ((x, y), indices, weight) = pieces[0]
            assert x.squeeze(1).tolist() == y.tolist() == indices.tolist()
            assert weight == 1.0


def test_the_order_hangs_on_seed_and_epoch_alone():
    def order(dataset, seed, epoch, start=0):
        torch.rand(3)
        return [i for pieces in feed(dataset, seed=seed).epoch(epoch, start) for i in pieces[0][1].tolist()]

    assert order(tensors(50), 1, 2) == order(Listed(50), 1, 2)
    assert order(tensors(50), 1, 2) != order(tensors(50), 1, 3)
    assert order(tensors(50), 1, 2) != order(tensors(50), 2, 2)
    assert order(Listed(50), 1, 2, start=5) == order(tensors(50), 1, 2)[20:]


def test_a_loader_draws_nothing_from_torchs_generator():
    before = torch.get_rng_state()
    list(feed(Listed(10)).epoch(0))
    assert torch.get_rng_state().equal(before)


def test_workers_load_the_same():
    plain, many = (list(feed(Listed(20), workers=n).epoch(0)) for n in (0, 1))
    for one, other in zip(plain, many, strict=True):
        assert one[0][0][0].equal(other[0][0][0])
