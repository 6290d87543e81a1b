"""Units that nothing reads."""

from __future__ import annotations

import torch

import tiny
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.couple.dead import dead_units
from flyweight.surgery.mask import mask_of


def test_a_unit_is_dead_when_every_reader_has_zeros_there() -> None:
    model, example = tiny.TinyResidual(), (torch.zeros(2, 1, 8, 8),)
    coupling = couple(model, example)
    with torch.no_grad():
        model.one[0].weight[:, 2] = 0
        model.one[0].weight[:, 5] = 0
        model.head.weight[:, 2] = 0
    assert dead_units(model, coupling)["stem.0"].nonzero().flatten().tolist() == [2]
    mask_of(model.head).keep[:, 5] = False  # read is what the chain gives
    assert dead_units(model, coupling)["stem.0"].nonzero().flatten().tolist() == [2, 5]


def test_one_unit_is_spared() -> None:
    task = tiny.task()
    coupling = couple(task.model, task.example)
    with torch.no_grad():
        task.model[9].weight.zero_()
        task.model[9].weight[0, 7] = 1.0  # a single pixel of channel 1
    assert dead_units(task.model, coupling)["4"].tolist() == [i != 1 for i in range(16)]
    with torch.no_grad():
        task.model[9].weight.zero_()
    assert int(dead_units(task.model, coupling)["4"].sum()) == 15
