"""Escaping is the rule, markup the exception."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from flyweight.report.markup import Markup, data, tag

_TEXT = st.lists(st.sampled_from(["<", ">", "&", '"', "'", "</script>", "<!--", "a", "\u2028"])).map("".join)


@given(_TEXT)
def test_no_text_opens_an_element_or_leaves_an_attribute(text: str) -> None:
    told = tag("p", text, title=text)
    assert told.count("<") == 2
    assert told.count('"') == 2


@given(_TEXT)
def test_json_in_a_script_reads_back_and_cannot_end_it(text: str) -> None:
    told = data({"text": text})
    assert not {"<", ">", "&"} & set(told)
    assert json.loads(told) == {"text": text}


def test_attributes() -> None:
    assert tag("i", class_="a", data_x=1, hidden=True, id=None, open=False) == '<i class="a" data-x="1" hidden></i>'
    assert tag("meta", name="x") == '<meta name="x">'
    assert tag("p", Markup("<b>"), "<b>") == "<p><b>&lt;b&gt;</p>"
