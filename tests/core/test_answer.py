"""Which tensor of a model's outputs answers."""

from __future__ import annotations

from collections import OrderedDict
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from flyweight.core.answer import answer
from flyweight.core.errors import ShapeError

Z, Y = torch.randn(2, 3), torch.randn(2, 4)
WHOLE = torch.arange(2)


@pytest.mark.parametrize(
    "outputs",
    [
        Z,
        {"loss": torch.zeros(()), "logits": Z, "states": Y},
        OrderedDict(logits=Z),
        SimpleNamespace(logits=Z, states=Y),
        {"anything": Z},
        {"anything": Z, "classes": WHOLE, "more": None},
        (Z,),
        [WHOLE, Z, (Y, Y)],
    ],
)
def test_the_one_that_is_meant(outputs: Any) -> None:
    assert answer(outputs) is Z


@pytest.mark.parametrize("outputs", [None, (), {}, (Z, Y), {"a": Z, "b": Y}, WHOLE.tolist(), SimpleNamespace(z=Z)])
def test_refused_where_nobody_knows(outputs: Any) -> None:
    with pytest.raises(ShapeError, match=rf"the student returns a {type(outputs).__name__}, .*'logits'.*objective"):
        answer(outputs, "the student")
