import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.core.errors import ShapeError
from flyweight.kernels.matrix import check_matrix, pack, unpack
from flyweight.kernels.reference import matrix as by_loops

sizes = st.integers(1, 9)


@settings(max_examples=100, deadline=None)
@given(
    sizes, sizes, st.sampled_from([(), (1, 1), (3, 2)]), st.sampled_from([(1, 1), (4, 1), (16, 1), (4, 4), (3, 2)]),
    st.floats(0, 1), st.integers(0, 99),
)  # fmt: skip
def test_it_is_what_loops_make_of_it_and_comes_back(rows, inputs, kernel, block, density, seed):
    random = torch.Generator().manual_seed(seed)
    shape = (rows, inputs, *kernel)
    weight = torch.randn(shape, generator=random) * (torch.rand(shape, generator=random) < density)
    values, keep = pack(weight, block)
    for found, expected in zip((values, keep), by_loops.pack(weight, block), strict=True):
        assert torch.equal(found, expected)
    check_matrix(values, keep, shape, block)
    assert torch.equal(unpack(values, keep, shape, block), weight)
    assert torch.equal(by_loops.unpack(values, keep, shape, block), weight)


def test_columns_run_tap_after_tap():
    weight = torch.arange(1.0, 9.0).reshape(1, 2, 2, 2)
    assert pack(weight, (1, 1))[0].tolist() == [1, 5, 2, 6, 3, 7, 4, 8]


def test_an_empty_keep_keeps_all():
    weight = torch.randn(6, 3, 2, 2)
    values, _ = pack(weight, (4, 1))
    none = torch.zeros(0, dtype=torch.uint8)
    check_matrix(values, none, weight.shape, (4, 1))
    assert torch.equal(unpack(values, none, tuple(weight.shape), (4, 1)), weight)


def test_gradients_reach_the_values():
    values, keep = pack(torch.eye(4, dtype=torch.float64), (2, 1))
    assert torch.autograd.gradcheck(lambda v: unpack(v, keep, (4, 4), (2, 1)), values.requires_grad_())


@pytest.mark.parametrize(
    ("values", "keep", "words"),
    [
        (8, [255, 0], ["keep has 2 bytes", "8 tiles", "1 bytes", "what pack returned"]),
        (7, [254], ["7 tiles of (2, 1)", "14 values", "has 7", "what pack returned"]),
        (14, [], ["8 tiles", "16 values", "has 14"]),
    ],
)
def test_what_does_not_agree_is_refused(values, keep, words):
    with pytest.raises(ShapeError) as error:
        check_matrix(torch.zeros(values), torch.tensor(keep, dtype=torch.uint8), (4, 4), (2, 1))
    assert all(word in str(error.value) for word in words)


def test_bits_after_the_last_tile_are_refused():
    with pytest.raises(ShapeError, match="after its 4 tiles"):
        check_matrix(torch.zeros(10), torch.tensor([0b11111000], dtype=torch.uint8), (4, 2), (2, 1))


def test_a_vector_is_no_weight():
    with pytest.raises(ShapeError, match=r"\(5,\).*two dimensions"):
        pack(torch.zeros(5), (4, 1))
