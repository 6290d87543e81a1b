import pytest
from torch import nn

from flyweight.surgery.modes import evaluated


def test_each_module_is_back_in_its_own_mode_even_after_an_error():
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout()).train()
    model[1].eval()
    with evaluated(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]
    with pytest.raises(ValueError, match="x"), evaluated(model):
        raise ValueError("x")
    assert [module.training for module in model.modules()] == [True, True, False]
