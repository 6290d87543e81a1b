"""The result of a run in words: which trade-offs are worth taking, computed from the points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.report.scale import change
from flyweight.report.units import amount, milliseconds, times
from flyweight.report.view import View

_TELLING = 1.1


@dataclass(frozen=True)
class Pick:
    """One trade-off: its ``name``, the ``point``, the ``gain`` in a word, and ``told``, a sentence on it."""

    name: str
    point: Point
    gain: str
    told: str


def picks(frontier: Frontier) -> tuple[Pick, ...]:
    """The points that most readers look for, each chosen on select and told by the report split where it was read.

    The smallest and the fastest, by a tenth at least, whose loss is allowed (``max_drop`` of the run; without one, the
    width by which the baseline's own interval reaches down); and the best that costs no more bytes than the baseline,
    or the best of all where none of those is clearly better. Empty without a baseline, or where nothing is better.
    """
    view = View.of(frontier)
    base = view.baseline
    if base is None or base.quality is None:
        return ()
    given = frontier.about.get("max_drop")
    drop = given if isinstance(given, int | float) else base.quality.value - base.quality.low
    others = [p for p in view.shown if p is not base and p.quality is not None and view.stands(p)]
    kept = [p for p in others if _quality(p) >= base.quality.value - drop]
    found = [
        _pick(view, "Smallest", _most(kept, _smaller(base)), lambda p: f"{_rounded(_smaller(base)(p))} smaller"),
        _pick(view, "Fastest", _most(kept, _faster), lambda p: f"{_rounded(_faster(p))} faster"),
        _pick(view, "Best", _best(view, others, base), lambda p: _at(view, p)),
    ]
    return tuple(f for f in found if f is not None and not _lost(view, f))


def headline(frontier: Frontier) -> str:
    """The run in one sentence, such as "47× smaller at −0.2 points"; first of all that its budgets were not met."""
    view, chosen = View.of(frontier), picks(frontier)
    if not view.shown:
        return "No candidate was finished" if view.failed or view.left_out else "Nothing has been tried yet"
    taken, why = frontier.asked()
    unmet = why.startswith("BudgetError: no model")
    wanted = " and ".join(str(b).replace("<=", " ≤ ") for b in (frontier.budgets if unmet or taken else ()))
    if wanted and unmet:
        kept = " and keeps the quality that was asked for" if frontier.about.get("max_drop") is not None else ""
        return f"No model meets {wanted}{kept}"
    if wanted and taken is not None and not taken.baseline and not chosen and view.baseline is not None:
        return f"{wanted} is met at {_at(view, taken)}"
    if chosen:
        texts = _sentences(view, chosen) or ["As good as the baseline, and no smaller or faster"]
        whole = texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + ", or " + texts[-1]
        return whole[0].upper() + whole[1:]
    if view.baseline is None:
        return f"{len(view.optimal)} of {len(view.shown)} points on the frontier, without a baseline to compare with"
    if len(view.shown) == 1:
        return "The baseline, and no other point yet"
    return "No point improves on the baseline within the quality that may be lost"


def _sentences(view: View, chosen: Sequence[Pick]) -> list[str]:
    """One clause a point: what it gains, and at what price; a point that was picked twice is told once."""
    gains: dict[int, list[Pick]] = {}
    for pick in chosen:
        if pick.name != "Best":
            gains.setdefault(id(pick.point), []).append(pick)
    texts = [f"{' and '.join(p.gain for p in same)} at {_at(view, same[0].point)}" for same in gains.values()]
    best = next((p for p in chosen if p.name == "Best" and id(p.point) not in gains), None)
    if best is not None:
        gain = best.gain if _clear(view, best.point) else "as good as the baseline"
        against = _against(best.point, view)
        texts += [f"{gain} at {against}"] if best.gain == gain or "smaller" in against else []
    return texts


def _best(view: View, points: Sequence[Point], base: Point) -> Point | None:
    within = _most([p for p in points if _no_larger(p, base)], _better(base))
    if within is not None and _clear(view, within):
        return within
    whole = _most(points, _better(base))
    return whole if whole is not None and _clear(view, whole) else within


def _clear(view: View, point: Point) -> bool:
    """Whether the gain over the baseline on select is more than the half of the point's interval that lies below it."""
    if view.baseline is None or view.baseline.quality is None or point.quality is None:
        return False
    return _quality(point) - view.baseline.quality.value > point.quality.value - point.quality.low


def _pick(view: View, name: str, point: Point | None, gain: Callable[[Point], str]) -> Pick | None:
    if point is None:
        return None
    score, split = (point.report, "report") if point.report else (point.quality, "select")
    told = [f"{view.scale.show(score)} ({view.scale.interval(score)}) on {split}"]
    told.append(f"{_at(view, point)} against the baseline")
    told.append(amount(point.footprint.size_bytes))
    if point.footprint.latency_ms is not None:
        told.append(milliseconds(point.footprint.latency_ms))
    if point.needs:
        told.append("on the sparse kernels; a plain file stands beside it")
    return Pick(name, point, gain(point), " · ".join(told))


def _lost(view: View, pick: Pick) -> bool:
    """Whether a point that was better on select is not so on report: then it is told in the table alone."""
    return pick.name == "Best" and (change(pick.point, view.baseline)[0] or 0.0) <= 0


def _at(view: View, point: Point) -> str:
    value, _ = change(point, view.baseline)
    return f"{view.scale.change(value)} {view.scale.difference}".rstrip()


def _against(point: Point, view: View) -> str:
    mine = point.footprint.size_bytes
    base = view.baseline.footprint.size_bytes if view.baseline is not None else None
    if not mine or not base or f"{mine / base:.2f}" == "1.00":
        return "the same size"
    return f"{_rounded(base / mine)} smaller" if mine < base else f"{_rounded(mine / base)} larger"


def _rounded(value: float) -> str:
    return times(value, 2 if value >= 1 else 3)


def _most(points: Sequence[Point], gain: Callable[[Point], float]) -> Point | None:
    """The point that gains most and gains at all; of equals the better one."""
    best = max(points, key=lambda p: (gain(p), _quality(p)), default=None)
    return best if best is not None and gain(best) > 0 else None


def _smaller(base: Point) -> Callable[[Point], float]:
    def gain(point: Point) -> float:
        mine, its = point.footprint.size_bytes, base.footprint.size_bytes
        return its / mine if mine and its and its >= _TELLING * mine else 0.0

    return gain


def _faster(point: Point) -> float:
    value = point.footprint.speedup
    return value if value is not None and value >= _TELLING else 0.0


def _better(base: Point) -> Callable[[Point], float]:
    return lambda point: max(0.0, _quality(point) - _quality(base))


def _no_larger(point: Point, base: Point) -> bool:
    mine, its = point.footprint.size_bytes, base.footprint.size_bytes
    return mine is not None and its is not None and mine <= its


def _quality(point: Point) -> float:
    assert point.quality is not None
    return point.quality.value
