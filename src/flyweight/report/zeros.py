"""What zeros among a point's weights promise, and why a runtime may not keep it."""

from __future__ import annotations

from flyweight.core.footprint import Footprint
from flyweight.report.units import number, share, times

_RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""Runtimes that are known to multiply zeros like other numbers, by the names under which they were measured."""

_SAME = 1.1
"""What is faster by no more than a tenth is as fast."""


def skipped(mine: Footprint) -> float | None:
    """How many times fewer multiplications are left where those by zero are skipped: MACs over nonzero MACs, or, where
    these were not counted, 1 / (1 − share of zeros). None where nothing is known of zeros."""
    macs = number(mine.detail.get("macs_nonzero"))
    if macs and mine.macs:
        return mine.macs / macs
    zeros = number(mine.detail.get("zero_share"))
    return None if zeros is None or not 0 <= zeros < 1 else 1 / (1 - zeros)


def reasons_zeros(mine: Footprint, work: float | None, delivered: float | None) -> tuple[str, ...]:
    """Why a point with zeros is not as fast as if they were skipped. ``work`` is what it should gain without that."""
    zeros = number(mine.detail.get("zero_share"))
    if zeros is None or work is None or delivered is None or delivered > _SAME * max(1.0, work):
        return ()
    fact = f"{share(zeros)} of the weights are zeros, and it ran {times(delivered)} as fast as the baseline"
    if number(mine.detail.get("macs_dense")):
        return (f"the layers that stayed dense multiply zeros like any other number: {fact}",)
    name = _RUNTIMES.get(str(mine.detail.get("runtime", "")).partition(" ")[0])
    who = f"{name} multiplies zeros like any other number" if name else "its runtime did not gain from zeros"
    return (f"{who}: {fact}; to be faster, remove whole channels, or run it with kernels that skip zeros",)
