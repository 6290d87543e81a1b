import pytest
import torch
from torch import nn

from flyweight.surgery.overheard import overheard


def test_hooks_hear_one_pass_in_evaluation_and_are_gone():
    model, seen = nn.Sequential(nn.Linear(3, 2), nn.Dropout()).train(), []
    hook = model[0].register_forward_hook(lambda m, i, o: seen.append((m.training, o.requires_grad)))
    overheard(model, (torch.ones(1, 3),), [hook])
    model(torch.ones(1, 3))
    assert seen == [(False, False)]
    assert model.training and model[1].training


def test_hooks_are_gone_after_an_error_too():
    model, seen = nn.Linear(3, 2).train(), []
    hook = model.register_forward_pre_hook(lambda m, i: seen.append(m))
    with pytest.raises(RuntimeError):
        overheard(model, (torch.ones(1, 4),), [hook])
    model(torch.ones(1, 3))
    assert len(seen) == 1 and model.training
