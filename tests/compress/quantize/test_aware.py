import pytest

from flyweight.compress.quantize.aware import Aware
from flyweight.core.errors import FlyweightError
from flyweight.core.serial import from_json, to_json


@pytest.mark.parametrize("fields", [{"ema": 1.1}, {"delay": -0.1}, {"freeze": 2}])
def test_what_is_no_fraction_is_refused(fields):
    (name,) = fields
    with pytest.raises(FlyweightError, match=rf"Aware\({name}=.*\) is no fraction. Give one from 0 to 1"):
        Aware(**fields)


def test_it_goes_to_json_and_back():
    assert from_json(to_json(Aware(ema=0.9))) == Aware(ema=0.9)
