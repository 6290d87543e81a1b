"""Classes of atoms against a union-find in plain Python."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.surgery.couple.classes import Classes

pairs = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=25)


@given(st.lists(pairs, min_size=1, max_size=4))
def test_unions_as_one_by_one(batches: list[list[tuple[int, int]]]) -> None:
    classes = Classes()
    classes.fresh(20)
    parent = list(range(21))

    def find(a: int) -> int:
        while parent[a] != a:
            a = parent[a]
        return a

    for batch in batches:
        for a, b in batch:
            low, high = sorted((find(a), find(b)))
            parent[high] = low
        if batch:
            left, right = torch.tensor(batch).T
            classes.union(left, right, "joined")
    assert classes.root.tolist() == [find(a) for a in range(21)]


def test_the_first_reason_is_handed_on() -> None:
    classes = Classes()
    a, b, c = classes.fresh(2), classes.fresh(2), classes.fresh(2)
    classes.freeze(a[:1], "a norm runs over it")
    classes.union(a, b, "they are added")
    classes.union(c[1:], b[1:], "they are added")
    assert classes.why(b) == "a norm runs over it"
    assert classes.of(torch.stack([a, b])).tolist() == [[0, 2], [0, 2]]
    assert classes.why(c) == "" and classes.of(c).tolist() == [5, 2]
    classes.union(c[:1], torch.zeros(1, dtype=torch.int64), "it is the output")
    assert classes.why(c) == "it is the output"
