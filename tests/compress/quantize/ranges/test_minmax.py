from flyweight.compress.quantize.ranges.minmax import minmax
from flyweight.compress.quantize.ranges.observed import Observed
from flyweight.compress.quantize.ranges.rule import Range
from flyweight.core.serial import from_json, to_json
from flyweight.numerics.codes import CodeRange


def test_it_is_what_was_seen():
    assert minmax()(Observed(-1.5, 4.0), CodeRange(8, signed=False)) == (-1.5, 4.0)
    assert not minmax().histogram
    assert isinstance(minmax(), Range)
    assert from_json(to_json(minmax())) == minmax()
