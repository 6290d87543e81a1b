import gc

import pytest
import torch

from flyweight.kernels import prepared as module
from flyweight.kernels.prepared import prepared


@pytest.fixture
def makes(monkeypatch):
    """Counts what is made, in a store of this test's own."""
    monkeypatch.setattr(module, "_kept", {})
    made = []

    def make(*arguments):
        made.append(len(arguments))
        return len(made)

    return lambda *tensors, told=(): prepared(make, tensors, told)


def test_it_is_made_once(makes):
    weight, bias = torch.zeros(3), torch.zeros(2)
    assert [makes(weight, bias), makes(weight, bias), makes(weight.detach(), bias), makes(weight, None)] == [1, 1, 1, 2]
    assert makes(weight, bias, told=("other",)) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.add_(1),
        lambda t: t.copy_(torch.ones(3)),
        lambda t: t.detach().mul_(2),
        lambda t: torch.nn.Parameter(t, requires_grad=False).zero_(),
    ],
)
def test_it_is_made_anew_after_a_change(makes, change):
    weight = torch.zeros(3)
    first = makes(weight)
    change(weight)
    assert (first, makes(weight), makes(weight)) == (1, 2, 2)


def test_it_goes_with_the_memory_and_another_tensor_there_is_another(makes):
    memory = bytearray(400)
    weight = torch.frombuffer(memory, dtype=torch.float32)
    address = weight.data_ptr()
    assert makes(weight) == 1
    del weight
    gc.collect()
    again = torch.frombuffer(memory, dtype=torch.float32)
    assert again.data_ptr() == address
    assert makes(again) == 2
    del again
    gc.collect()
    assert makes(torch.zeros(5)) == 3
    assert len(module._kept) == 1


def test_nothing_is_kept_of_tensors_that_count_no_changes(makes):
    with torch.inference_mode():
        weight = torch.zeros(3)
        assert (makes(weight), makes(weight)) == (1, 2)
    assert module._kept == {}
