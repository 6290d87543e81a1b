"""Numbers as people read them, each with its unit; a number that was not measured gets a dash."""

from __future__ import annotations

import math
from typing import Any

MISSING = "–"
_STEPS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "KB"))
_COUNTS = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))

TITLES = {
    "size_bytes": "File size",
    "gzip_bytes": "Gzipped file size",
    "parameters": "Parameters",
    "macs": "Multiply-accumulates",
    "latency_ms": "Median latency",
    "latency_iqr_ms": "Interquartile range of latency",
    "latency_p90_ms": "90th percentile of latency",
    "peak_memory_bytes": "Peak memory",
    "load_ms": "Load time",
    "energy_mj": "Energy",
}
"""What the measured fields are called where people read them."""


def figures(value: float | None, digits: int = 3) -> str:
    """``value`` to ``digits`` significant figures, never as a power of ten.

    >>> figures(0.041234), figures(1234.5), figures(12.0)
    ('0.0412', '1,234', '12.0')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    size = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}")))) if size < digits else size
    return f"{value:,.{max(0, digits - 1 - size)}f}".replace("-", "−")


def amount(value: float | None, digits: int = 3) -> str:
    """Bytes, in decimal units: a KB is 1000 bytes.

    >>> amount(812), amount(110_230), amount(5_251_000)
    ('812 B', '110 KB', '5.25 MB')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    for step, unit in _STEPS:
        if abs(value) >= step * (1 - 0.5 * 10**-digits):
            return f"{figures(value / step, digits)} {unit}"
    return f"{value:.0f} B"


def count(value: float | None) -> str:
    """A count such as parameters.

    >>> count(98_570), count(1_343_018), count(12)
    ('98.6 k', '1.34 M', '12')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    for step, unit in _COUNTS:
        if abs(value) >= step * 0.9995:
            return f"{figures(value / step)}{unit}"
    return f"{value:.0f}"


def milliseconds(value: float | None) -> str:
    """A time; ten seconds and more in seconds.

    >>> milliseconds(0.4123), milliseconds(12_340)
    ('0.412 ms', '12.3 s')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{figures(value / 1000)} s" if value >= 10_000 else f"{figures(value)} ms"


def seconds(value: float | None) -> str:
    """A duration of work.

    >>> seconds(4.21), seconds(75), seconds(7260)
    ('4.2 s', '1 min 15 s', '2 h 1 min')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    whole = round(value)
    if whole < 60:
        return f"{value:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def times(value: float | None, digits: int = 3) -> str:
    """A ratio.

    >>> times(46.71), times(3.9), times(46.71, 2), times(0.821)
    ('46.7×', '3.90×', '47×', '0.82×')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{min(2, digits - 1)}f}×" if 0 < value < 1 else f"{figures(value, digits)}×"


def share(value: float | None) -> str:
    """A part of one, in per cent.

    >>> share(0.314), share(0.004)
    ('31 %', '0.4 %')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.1%}".replace("%", " %") if 0 < abs(value) < 0.0995 else f"{value:.0%}".replace("%", " %")


def cost(name: str, value: float | None) -> str:
    """The measured field ``name`` with its unit.

    >>> cost("size_bytes", 110_230), cost("energy_mj", 1.5), cost("macs", 4e6)
    ('110 KB', '1.50 mJ', '4.00 M')
    """
    if name.endswith("_bytes"):
        return amount(value)
    if name.endswith("_ms"):
        return milliseconds(value)
    if name.endswith("_mj"):
        return MISSING if value is None else f"{figures(value)} mJ"
    return count(value)


def number(value: Any) -> float | None:
    """``value`` as a float where it is a finite number; JSON may hold anything.

    >>> number(3), number(float("nan")), number(True), number("3")
    (3.0, None, None, None)
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else None
