"""The sections of the report that tell how it was measured, and on what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flyweight.core.frontier import Frontier
from flyweight.report.markup import Markup, section, tag
from flyweight.report.units import TITLES, amount
from flyweight.report.view import View
from flyweight.report.words import words

_HOST = {
    "cpu": "Processor",
    "isa": "Instructions",
    "cores": "Cores",
    "memory_bytes": "Memory",
    "os": "System",
    "machine": "Machine",
    "python": "Python",
}
_TOLD = (
    "task",
    "host",
    "versions",
    "flyweight",
    "ended",
    "end",
    "runtime",
    "max_drop",
    "budgets",
    "strategy",
    "options",
)


def method(frontier: Frontier, view: View) -> Markup:
    """How qualities and costs were measured: every figure from the points."""
    details = [p.footprint.detail for p in view.shown]
    facts: list[tuple[str, str]] = []
    select = _range(p.quality.examples for p in view.shown if p.quality is not None)
    report = _range(p.report.examples for p in view.shown if p.report is not None)
    if select:
        facts.append(("Select split", f"{select} examples: every choice was made on it"))
    if report:
        counted = sum(p.report is not None for p in view.shown)
        facts.append(
            ("Report split", f"{report} examples, read once, at the end, for {counted} of {len(view.shown)} points")
        )
    facts.append(("Intervals", "95 %, by the bootstrap over the examples of the split"))
    for title, name, unit in (
        ("Runtime", "runtime", ""),
        ("Threads", "threads", ""),
        ("Batch", "batch", " examples a call"),
    ):
        found = _distinct(d.get(name) for d in details)
        facts += [(title, ", ".join(found) + (" example a call" if unit and found == ["1"] else unit))] if found else []
    calls = _range(d.get("n") for d in details)
    told = "median of calls" + (", timed in turns with the baseline's" if _any(view, "speedup") else "")
    told += ", in a fresh process" + (
        " without torch" if all(d.get("probe_had_torch") is False for d in details) else ""
    )
    if _any(view, "latency_ms"):
        facts.append(("Latency", f"{told}; {calls} calls a point" if calls else told))
    empty = _range((d.get("empty_call_ms") for d in details), " ms")
    facts += [("A call that computes nothing", empty)] if empty else []
    memory = _distinct(d.get("memory_method") for d in details)
    facts.append(
        ("Peak memory", "over the process with the runtime imported" + (f"; {', '.join(memory)}" if memory else ""))
    )
    energy = _distinct(d.get("energy_counter") for d in details if d.get("energy_counter"))
    facts += [("Energy", ", ".join(energy))] if energy else []
    all_of = " and ".join(["quality", *(TITLES[c].lower() for c in frontier.costs)])
    facts.append(("Frontier", f"no other point is as good in all of {all_of}, and better in one"))
    facts.append(("Bytes", "of the file; 1 KB is 1000 bytes"))
    return section("method", "How it was measured", _listed(facts))


def machine(frontier: Frontier) -> Markup:
    """The hardware, the versions, and what the run was asked for."""
    about = frontier.about
    host = about.get("host")
    host = host if isinstance(host, Mapping) else {}
    facts = [
        (_HOST.get(k, _title(k)), _value(k, v)) for k, v in host.items() if k != "versions" and v not in (None, [])
    ]
    versions = {
        "flyweight": about.get("flyweight"),
        **_mapping(host.get("versions")),
        **_mapping(about.get("versions")),
    }
    found = [(k, _value(k, v)) for k, v in versions.items() if v is not None]
    asked = [
        (_title(k), _value(k, about[k]))
        for k in ("runtime", "max_drop", "budgets")
        if about.get(k) not in (None, [], ())
    ]
    asked += [(_title(k), _value(k, v)) for k, v in _mapping(about.get("options")).items() if v is not None]
    strategy = about.get("strategy")
    asked += [("Strategy", words([strategy]) if isinstance(strategy, Mapping) else str(strategy))] if strategy else []
    asked += [(_title(k), _value(k, v)) for k, v in about.items() if k not in _TOLD and v not in (None, [], ())]
    groups = [("Hardware", facts), ("Versions", found), ("The run", asked)]
    blocks = [tag("div", tag("h3", title), _listed(rows)) for title, rows in groups if rows]
    if not blocks:
        return Markup("")
    return section("machine", "Hardware and versions", tag("div", *blocks, class_="groups"))


def _any(view: View, name: str) -> bool:
    return any(getattr(p.footprint, name) is not None for p in view.shown)


def _listed(facts: Iterable[tuple[str, str]]) -> Markup:
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _title(name: str) -> str:
    return str(name).replace("_", " ").capitalize()


def _value(name: str, value: Any) -> str:
    if name.endswith("_bytes") and isinstance(value, int | float):
        return amount(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{_title(k).lower()} {_value(k, v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_value(name, v) for v in value)
    return str(value)


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(v) for v in values if v is not None))


def _range(values: Iterable[Any], unit: str = "") -> str:
    known = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if not known:
        return ""
    low, high = (f"{v:,}" if isinstance(v, int) else f"{v:.3g}" for v in (min(known), max(known)))
    return (low if low == high else f"{low} to {high}") + unit
