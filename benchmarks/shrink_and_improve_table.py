"""The tables, ratios and picture of the survey's experiment, made from its rows alone."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

from cells import why
from intervals import mean_interval

PAPER = {
    0.05: (70.17, 71.71, 72.89, 65, 27),
    0.1: (75.93, 78.22, 78.93, 110, 39),
    0.25: (80.60, 84.14, 84.51, 392, 111),
    0.5: (83.04, 87.47, 88.03, 1374, 359),
    0.75: (83.79, 89.06, 89.51, 2994, 767),
    1.0: (84.42, 89.41, 89.92, 5251, 1334),
    1.4: (85.82, 90.86, None, 10186, 2573),
}
"""The survey author's notebook, CIFAR-10: % without and with augmentation, with distillation too; KB float and int8."""

Key = tuple[float, str, int]


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """``{"text", "ratios", "svg"}`` of a result of ``shrink_and_improve.py``."""
    cells: dict[Key, dict[int, dict[str, Any]]] = {}
    for row in result["rows"]:
        cells.setdefault((row["width"], row["arm"], row["bits"]), {})[row["seed"]] = row
    ratios = _ratios(cells)
    seeds = max((len(rows) for rows in cells.values()), default=0)
    lines = [_about(result), "", *_table(cells, seeds), "", *_sentences(ratios), "", *_paper(cells, seeds)]
    if result["missing"]:
        lines += ["", why(result["missing"])]
    return {"text": "\n".join(lines), "ratios": ratios, "svg": _picture(cells)}


def _paired(a: dict[int, Any], b: dict[int, Any], of: Callable[[Any, Any], float]) -> tuple[float, float | None]:
    return mean_interval([of(a[s], b[s]) for s in sorted(a.keys() & b.keys())])


def _ratios(cells: dict[Key, Any]) -> dict[str, Any]:
    """Both strategies against the plain float network of width 1.0; which cell is chosen is decided on select."""
    base = cells.get((1.0, "plain", 32))
    if base is None:
        return {}
    found = []
    for (width, arm, bits), rows in cells.items():
        if len(rows.keys() & base.keys()) < len(base):  # a cell of fewer seeds would win or lose by luck
            continue
        drop, drop_pm = _paired(base, rows, lambda x, y: 100 * (x["report"] - y["report"]))
        gone, gone_pm = _paired(base, rows, lambda x, y: 100 * (y["report"] - x["report"]) / (1 - x["report"]))
        found.append(
            {
                "width": width,
                "arm": arm,
                "bits": bits,
                "times_smaller": round(_paired(base, rows, lambda x, y: x["size_bytes"] / y["size_bytes"])[0], 2),
                "drop_points": round(drop, 3),
                "drop_points_pm": _round(drop_pm),
                "drop_on_select": round(_paired(base, rows, lambda x, y: 100 * (x["select"] - y["select"]))[0], 3),
                "errors_gone_percent": round(gone, 2),
                "errors_gone_percent_pm": _round(gone_pm),
                "seeds": len(rows.keys() & base.keys()),
            }
        )
    small = [r for r in found if r["drop_on_select"] <= 0.24]
    better = [r for r in found if r["times_smaller"] >= 1 / 0.49]
    return {
        "all": sorted(found, key=lambda r: (r["width"], r["arm"], r["bits"])),
        "shrink_and_improve": max(small, key=lambda r: (round(r["times_smaller"]), -r["drop_on_select"]), default=None),
        "grow_improve_and_shrink": min(better, key=lambda r: r["drop_on_select"], default=None),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _about(result: dict[str, Any]) -> str:
    plan = result["plan"]
    return (
        f"Task {plan['task']}, {plan['epochs']} epochs (+ {plan['tune_epochs']} of quantization-aware training), batch "
        f"{plan['batch_size']}, Adam {plan['lr']:g} with a cosine, one schedule for every cell; {_teachers(plan)}"
        ". Top-1 on the report split, mean ± 95 % interval over the seeds (Student's t), measured in ONNX Runtime. "
        f"Host: {_host(result['host'])}."
    )


def _teachers(plan: dict[str, Any]) -> str:
    depth, views = plan.get("depth"), plan.get("views")
    kind = f"WRN-{depth}-{plan['grow']:g}" if depth else f"of width {plan['grow']:g}"
    told = f"{plan['teachers']} teacher(s) {kind}, T = {plan['temperature']:g}, labels' weight {plan.get('hard', 1):g}"
    return told + (f", asked once about {views} augmented copies of the data" if views else "")


def _host(host: dict[str, Any]) -> str:
    versions = host.get("versions", {})
    named = [f"{k} {v}" for k, v in versions.items() if v and k in ("torch", "onnxruntime", "onnx")]
    return ", ".join([*([host["gpu"]] if host.get("gpu") else []), str(host.get("cpu") or "unknown"), *named])


def _cell(rows: dict[int, Any] | None, seeds: int) -> str:
    if not rows:
        return "–"
    mean, pm = mean_interval([100 * r["report"] for r in rows.values()])
    told = f"{mean:.2f}" + ("" if pm is None else f" ± {pm:.2f}")
    return told if len(rows) == seeds else f"{told} ({len(rows)} seed{'s' if len(rows) > 1 else ''})"


def _table(cells: dict[Key, Any], seeds: int) -> list[str]:
    arms = [a for a in ("plain", "distilled", "augmented", "augmented+distilled") if any(k[1] == a for k in cells)]
    lines = ["|width|bits|KB|" + "|".join(arms) + "|", "|-|-|-|" + "-|" * len(arms)]
    for width in sorted({k[0] for k in cells}):
        for bits in (32, 8):
            rows = [cells.get((width, arm, bits)) for arm in arms]
            sizes = [r["size_bytes"] for found in rows if found for r in found.values()]
            if sizes:
                kind = "float" if bits == 32 else "int8"
                shown = "|".join(_cell(r, seeds) for r in rows)
                lines.append(f"|{width:g}|{kind}|{statistics.fmean(sizes) / 1000:.1f}|{shown}|")
    return lines


def _name(row: dict[str, Any]) -> str:
    return f"width {row['width']:g}, {row['arm']}, {'int8' if row['bits'] == 8 else 'float'}"


def _pm(value: float | None) -> str:
    return " (one seed)" if value is None else f" ± {value:.2f}"


def _sentences(ratios: dict[str, Any]) -> list[str]:
    lines = []
    for title, key in (
        ("Shrink-and-Improve (smallest that lost at most 0.24 points on select)", "shrink_and_improve"),
        ("Grow-Improve-and-Shrink (best at no more than 0.49× the bytes)", "grow_improve_and_shrink"),
    ):
        row = ratios.get(key)
        if row is None:
            lines.append(f"- {title}: no cell.")
            continue
        change = -row["drop_points"]
        lines.append(
            f"- {title}: {_name(row)}: {row['times_smaller']:.1f}× smaller, {change:+.2f}{_pm(row['drop_points_pm'])} "
            f"points, {row['errors_gone_percent']:.1f}{_pm(row['errors_gone_percent_pm'])} % of the errors gone "
            f"({row['seeds']} seed{'s' if row['seeds'] > 1 else ''})."
        )
    return lines


def _paper(cells: dict[Key, Any], seeds: int) -> list[str]:
    lines = [
        "Beside the survey's CIFAR-10 (float %, its bytes in KB float/int8; other data, so only the shape compares):",
        "",
        "|width|survey: no aug / aug / aug+distil|survey KB|ours: no aug / aug / aug+distil|",
        "|-|-|-|-|",
    ]
    for width in sorted({k[0] for k in cells} & set(PAPER)):
        plain, aug, both, kb32, kb8 = PAPER[width]
        theirs = " / ".join("–" if v is None else f"{v:.2f}" for v in (plain, aug, both))
        ours = " / ".join(
            _cell(cells.get((width, a, 32)), seeds) for a in ("plain", "augmented", "augmented+distilled")
        )
        lines.append(f"|{width:g}|{theirs}|{kb32}/{kb8}|{ours}|")
    return lines


def _picture(cells: dict[Key, Any]) -> str:
    """An SVG of top-1 against bytes: one line for each arm and width of number, with intervals."""
    points = {
        key: (
            statistics.fmean(r["size_bytes"] for r in rows.values()),
            *mean_interval([100 * r["report"] for r in rows.values()]),
        )
        for key, rows in cells.items()
    }
    if not points:
        return ""
    width, height, left, right, top, bottom = 860, 480, 64, 200, 24, 52
    xs = [math.log10(p[0]) for p in points.values()]
    ys = [p[1] for p in points.values()]
    x0, x1, y0, y1 = min(xs) - 0.1, max(xs) + 0.1, math.floor(min(ys)), math.ceil(max(ys))

    def at(size: float, quality: float) -> tuple[float, float]:
        x = left + (math.log10(size) - x0) / (x1 - x0) * (width - left - right)
        return x, top + (y1 - quality) / (y1 - y0) * (height - top - bottom)

    colours = {"plain": "#6b7280", "distilled": "#b45309", "augmented": "#2563eb", "augmented+distilled": "#047857"}
    out = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
            'font-size="13">'
        ),
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for quality in range(y0, y1 + 1):
        _, y = at(10**x0, quality)
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#e5e7eb"/>')
        out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#374151">{quality} %</text>')
    for size in (1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7):
        if x0 <= math.log10(size) <= x1:
            x, _ = at(size, y0)
            label = f"{size / 1e6:g} MB" if size >= 1e6 else f"{size / 1e3:g} KB"
            out.append(f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{height - bottom}" stroke="#f3f4f6"/>')
            out.append(
                f'<text x="{x:.1f}" y="{height - bottom + 18}" text-anchor="middle" fill="#374151">{label}</text>'
            )
    entry = top + 12
    for arm, colour in colours.items():
        for bits, dash in ((8, ""), (32, "5 4")):
            line = sorted((p, k) for k, p in points.items() if k[1] == arm and k[2] == bits)
            if not line:
                continue
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(p[0], p[1]) for p, _ in line))
            out.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-dasharray="{dash}" stroke-width="2"/>'
            )
            for (size, mean, pm), _ in line:
                x, y = at(size, mean)
                if pm is not None:
                    low, high = at(size, mean - pm)[1], at(size, mean + pm)[1]
                    out.append(f'<line x1="{x:.1f}" y1="{low:.1f}" x2="{x:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
                fill = colour if bits == 8 else "#ffffff"
                out.append(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>'
                )
            x = width - right + 12
            out.append(
                f'<line x1="{x}" y1="{entry}" x2="{x + 24}" y2="{entry}" stroke="{colour}" stroke-dasharray="{dash}" '
                'stroke-width="2"/>'
            )
            kind = "int8" if bits == 8 else "float"
            out.append(f'<text x="{x + 30}" y="{entry + 4}" fill="#111827">{arm.replace("+", " + ")}, {kind}</text>')
            entry += 20
    out.append(
        f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle" fill="#374151">'
        "bytes of the file (log scale) · Fashion-MNIST top-1, report split</text></svg>"
    )
    return "\n".join(out) + "\n"
