import pytest
import torch
from torch import nn

from flyweight.core.errors import FlyweightError, TaskError
from flyweight.models.build import Build
from flyweight.models.survey_cnn import survey_cnn
from flyweight.testing.check_step import check_step

SMALL = (("width", 0.05), ("size", 8), ("classes", 4))


def test_the_contract(tiny_task):
    check_step(Build(survey_cnn, SMALL), tiny_task)


def test_another_network_stands_in_its_place_and_the_seed_decides_it(tiny_task):
    one, two, other = (Build(survey_cnn, SMALL, seed)(tiny_task.model, tiny_task) for seed in (3, 3, 4))
    assert type(one) is type(survey_cnn(0.05, size=8))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_settings_that_do_not_fit_are_refused(tiny_task):
    with pytest.raises(TaskError, match=r"Build cannot call survey_cnn with \{'depth': 3\}"):
        Build(survey_cnn, (("depth", 3),))(tiny_task.model, tiny_task)
    with pytest.raises(FlyweightError, match="Give pairs"):
        Build(survey_cnn, {"width": 1})


def no_module() -> int:
    return 3


def test_a_builder_must_return_a_module(tiny_task):
    with pytest.raises(TaskError, match="no_module returned int"):
        Build(no_module)(nn.Linear(1, 1), tiny_task)
