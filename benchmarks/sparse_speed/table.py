"""The one table of ``sparse_speed.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_LEAST = (
    ("mobilenet_v2", "4x1", 0.9, 2.5),
    ("mobilenet_v2", "1x1", 0.9, 1.9),
    ("mobilenet_v2", "4x1", 0.8, 2.0),
    ("minilm", "4x1", 0.9, 2.8),
    ("minilm", "16x1", 0.9, 3.2),
    ("minilm-16", "4x1", 0.9, 3.0),
    ("mobilenet_v2", "4x4", 0.9, 1.5),
    ("resnet18", "4x4", 0.9, 1.5),
)
"""Network, blocks, sparsity, and how many times faster than the best dense runtime it shall be on one thread: than the
fastest float one, and of 4×4 blocks, which are integers, than the fastest integer one."""

_LEAST_CAPPED, _LEAST_TWO_THREADS = 1.8, 1.6

_HEAD = (
    "what",
    "weights",
    "threads",
    "time",
    "× best dense",
    "quartiles",
    "best dense",
    "its time",
    "of peak",
    "remark",
)


def table(found: dict[str, Any]) -> str:
    """Networks, then layers; under it the machine's figures, and who was absent."""
    lines = [_HEAD, *(_network(r) for r in found["networks"]), *(_layer(r) for r in found["layers"])]
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(_HEAD))]
    text = [
        "  ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    ]
    wanted = [
        f"{'kept  ' if t['kept'] else 'MISSED'} {t['what']}: {t['measured']} of {t['least']}" for t in found["targets"]
    ]
    return "\n".join([*text, "", *_machine(found), *wanted])


def targets(found: dict[str, Any]) -> list[dict[str, Any]]:
    """What was to be shown, and what was measured, of the points that the run has."""
    rows = {
        (r["model"], r["block"], r["sparsity"], r["threads"]): r for r in found["networks"] if r["group"] == "sparse"
    }
    told = []
    for model, block, sparsity, least in _LEAST:
        if found["capped_to_avx2"]:
            if (model, block, sparsity) != ("mobilenet_v2", "4x1", 0.9):
                continue
            least = _LEAST_CAPPED
        name = f"{model}, {block}, {sparsity:.0%}"
        field = f"ratio_best_dense_{'int8' if block == '4x4' else 'fp32'}"
        if row := rows.get((model, block, sparsity, 1)):
            told.append(_told(name, least, row.get(field)))
        if row := rows.get((model, block, sparsity, 2)):
            told.append(_told(f"{name}, two threads over one", _LEAST_TWO_THREADS, row.get("ratio_one_thread")))
    return told


def _told(what: str, least: float, measured: float | None) -> dict[str, Any]:
    return {"what": what, "least": least, "measured": measured, "kept": measured is not None and measured >= least}


def _network(row: dict[str, Any]) -> Sequence[str]:
    kind = "int8" if row.get("int8") else "fp32"
    ms = row["latency_ms"]
    what = row["model"]
    weights = f"{row['block']} {row['sparsity']:.0%} {kind}" if row["group"] == "sparse" else f"dense: {row['what']}"
    if ms is None:
        return (what, weights, str(row["threads"]), "-", "", "", "", "", "", row["why"])
    remark = "" if kind == "fp32" else f"{row['ratio_best_dense_fp32'] or 0:.2f} × best fp32"
    if "ratio_one_thread" in row:
        remark += f"{', ' if remark else ''}{row['ratio_one_thread']:.2f} × one thread"
    remark = row.get("why") or remark
    return (
        *(what, weights, str(row["threads"]), f"{ms:.2f} ms"),
        *_ratio(row[f"ratio_best_dense_{kind}"], row.get(f"ratio_best_dense_{kind}_quartiles")),
        row[f"best_dense_{kind}"] or "",
        _ms(row.get(f"best_dense_{kind}_ms")),
        "",
        remark,
    )


def _layer(row: dict[str, Any]) -> Sequence[str]:
    what, weights = row["layer"], f"{row['block']} {row['sparsity']:.0%} {'int8' if row['int8'] else 'fp32'}"
    if row["latency_us"] is None:
        return (what, weights, str(row["threads"]), "-", "", "", "", "", "", row["why"])
    best = row.get("best_dense")
    return (
        *(what, weights, str(row["threads"]), f"{row['latency_us']:.1f} us"),
        *_ratio(row["ratio"], row.get("quartiles")),
        best or "",
        f"{row['dense_us'][best]:.1f} us" if best else "",
        f"{row['share_of_peak']:.0%}" if row["share_of_peak"] else "",
        "" if row.get("equal", True) else "not equal to the integer reference",
    )


def _ratio(ratio: float | None, quartiles: Sequence[float] | None) -> tuple[str, str]:
    if ratio is None or quartiles is None:
        return "", ""
    return f"{ratio:.2f}", f"{quartiles[0]:.2f}-{quartiles[1]:.2f}"


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} ms"


def _machine(found: dict[str, Any]) -> list[str]:
    machine = found["machine"]
    reads = ", ".join(f"{name} {gbytes:.0f}" for name, gbytes in machine["read_gbytes"].items())
    capped = ", all runtimes capped to AVX2" if found["capped_to_avx2"] else ""
    lines = [
        f"path {found['path']}{capped}; reading GB/s: {reads}",
        f"one thread at most: {machine['peak_gflops']:.0f} GFLOP/s, int8 {machine['peak_int8_gops']:.0f} GOP/s",
        f"medians of {found['rounds']} rounds of {found['turn_ms']:g} ms, in turns; ratios: medians of the rounds' own",
        "layers' dense times are without what an empty call of the runtime takes",
        ", ".join(sorted(set(found["runtimes"].values()))),
    ]
    return lines + [f"{name} is left out: {why}" for name, why in found["absent"].items()]
