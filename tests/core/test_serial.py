"""JSON both ways by dotted name, and what cannot go."""

from dataclasses import dataclass

import pytest

from flyweight.core.errors import FlyweightError, UnknownNameError
from flyweight.core.serial import from_json, to_json


@dataclass(frozen=True)
class Inner:
    x: float = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    rule: object = None


def double(x):
    return 2 * x


def test_round_trip():
    value = Outer(Inner(1.5), (Inner(), Inner(2.0)), double)
    text = to_json(value)
    assert text["use"].endswith("Outer")
    assert from_json(text) == value
    assert from_json(to_json((value, None, 3, "s"))) == (value, None, 3, "s")


def test_what_has_no_name_is_refused():
    with pytest.raises(FlyweightError, match="top of a module"):
        to_json(Outer(rule=lambda x: x))
    with pytest.raises(FlyweightError, match="cannot be written as JSON"):
        to_json(object())


def test_names_that_are_gone():
    with pytest.raises(UnknownNameError, match="Did you mean 'to_json'"):
        from_json({"use": "flyweight.core.serial.to_jsn"})
    with pytest.raises(FlyweightError, match="can be imported"):
        from_json({"use": "nosuchmodule.Thing"})
    with pytest.raises(FlyweightError, match="another version"):
        from_json({"use": "flyweight.core.budget.Budget", "colour": 1})
