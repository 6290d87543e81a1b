import pytest
from torch import nn

from flyweight.compress.prune.scores.taylor import taylor
from flyweight.core.takes import takes


class Bound:
    def two(self, a, b=0): ...


@pytest.mark.parametrize(
    ("thing", "count", "wanted"),
    [
        (lambda x: x, 1, True),
        (lambda x, y=0, **named: x, 2, True),
        (lambda *many: many, 5, True),
        (lambda x, *, named: x, 1, False),
        (lambda x, y: x, 1, False),
        (Bound().two, 1, True),
        (Bound().two, 3, False),
        (taylor(), 1, True),
        (taylor, 1, False),
        (nn.CrossEntropyLoss(), 2, True),
        ("taylor", 1, False),
        (None, 0, False),
    ],
)
def test_what_can_be_called_with_so_many(thing, count, wanted):
    assert takes(thing, count) is wanted
