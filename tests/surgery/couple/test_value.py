"""Labels without repetition."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.surgery.couple.value import Value, along, compact, constant, core, numbered, varying


@given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(0, 3), st.integers(0, 99))
def test_compact_labels_are_the_same_labels(shape: list[int], dim: int, seed: int) -> None:
    dim %= len(shape)
    labels = torch.randint(0, 3, (shape[dim],), generator=torch.Generator().manual_seed(seed))
    whole = along(labels, dim, shape).contiguous()
    found = compact(whole)
    assert torch.equal(found, whole)
    expected = {dim} if len(set(labels.tolist())) > 1 else set()
    assert varying(core(found)) == expected
    assert all(found.stride(d) == 0 or shape[d] == 1 or d in expected for d in range(len(shape)))


def test_what_was_expanded_has_no_size_of_its_own() -> None:
    value = Value(constant((2, 4, 3)), numbered((2, 4, 3), (0, 2)))
    assert [value.genuine(dim) for dim in range(3)] == [True, False, True]
    assert [Value(constant((2, 1))).genuine(dim) for dim in range(2)] == [True, False]
