"""The machine's pace: what the search timed of a point, beside the last measuring, when the machine may be slower."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from flyweight.core.footprint import Footprint
from flyweight.core.point import Point

_KEY = "searched"
"""Where a footprint's ``detail`` keeps what the search timed."""

_TIMES = ("latency_ms", "latency_p90_ms")

_ALIKE = ("host_cpu", "isa", "runtime", "threads", "batch")
"""What has to be the same for two measurements to differ by pace alone."""


@dataclass(frozen=True)
class Pace:
    """What the search timed of a point (``then``), and how many times ``slower`` the machine was in the last measuring.

    Every file is timed in turns with the baseline's, so latency · speedup is the baseline's latency at that moment,
    and ``slower`` is this product now over this product then: the point's own share in the change does not count.
    """

    then: Mapping[str, float]
    slower: float

    @classmethod
    def of(cls, point: Point) -> Pace | None:
        """That of ``point``, or None where it was timed once, or never in turns with the baseline."""
        found, now = point.footprint.detail.get(_KEY), point.footprint
        if not isinstance(found, Mapping) or not found.get("latency_ms") or now.latency_ms is None:
            return None
        its = 1.0 if point.baseline else now.speedup
        mine = 1.0 if point.baseline else found.get("speedup")
        if not its or not mine:
            return None
        return cls(found, now.latency_ms * its / (found["latency_ms"] * mine))

    @staticmethod
    def kept(before: Footprint, now: Footprint) -> Footprint:
        """``now``, with what the search timed ``before``; of several measurings the first counts as the search's.

        Not of another machine, or another number of threads: these differ by more than the pace.
        """
        if any(before.detail.get(name) != now.detail.get(name) for name in _ALIKE):
            return replace(now, detail={k: v for k, v in now.detail.items() if k != _KEY})
        if before.latency_ms is None:
            return now
        first = {name: getattr(before, name) for name in (*_TIMES, "speedup")}
        found = before.detail.get(_KEY, {k: v for k, v in first.items() if v is not None})
        return replace(now, detail={**now.detail, _KEY: found})

    def excuses(self, point: Point, field: str, limit: float) -> bool:
        """Whether ``field`` is above ``limit`` in the last measuring, and the machine's pace explains it.

        So it is where the search measured it within the limit, and the last measuring over ``slower`` is within it
        too: a point that came out slower beside the baseline is not excused by a lucky first time.
        """
        then, now = self.then.get(field), point.value(field)
        if field not in _TIMES or then is None or now is None:
            return False
        return then <= limit < now <= self.slower * limit
