"""flyweight and Torch-Pruning side by side: which networks each can make smaller, and what is left of them.

Every network is pruned by magnitude, each group of coupled channels by the same ratio (and heads, where there are
some), by both tools. It is *handled* if it is smaller, gives outputs of the same shape, is exported to ONNX, and ONNX
Runtime opens the file and computes what the network does. *Same as masked*: the smaller network's outputs are those of
the dense one with zeros in place of what was removed, in float64. Multiply-accumulates and parameters are those of the
exported file; latencies are of ONNX Runtime on one thread, all files of a network in turns. No network is trained:
this tells of coverage and speed, not of quality.

Torch-Pruning is set up as its README asks: output layers ignored, the heads of attention named (whole heads are
removed), numbers that a network's own code holds set anew behind it. flyweight is told nothing of the network.

    python benchmarks/pruning_coverage.py --quick --json             # two cores, minutes: small networks
    python benchmarks/pruning_coverage.py --jobs 2 --record benchmarks/results/pruning_coverage.json

Without Torch-Pruning (``pip install --no-deps torch-pruning``) its rows are left out.
"""

from __future__ import annotations

import copy
import dataclasses
import signal
import statistics
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]  # siblings, and the tests' networks: neither is a package
import torch_pruning_arm as theirs  # noqa: E402
from cells import Rows, arguments, execute, finish, say, table, told  # noqa: E402
from pruning_networks import ZOO, Net, small_net, zoo  # noqa: E402

OURS, THEIRS = "flyweight", "torch-pruning"
SAME, FILE_SAME = 1e-6, 1e-3
"""The greatest differences, relative to the greatest output: to the masked one in float64, to the file in float32."""
PATIENCE_S = 120
"""How long one network may take at one ratio: Torch-Pruning follows some graphs for ever."""


@dataclass(frozen=True)
class Cell:
    """One network, under both tools and every ratio."""

    kind: str
    model: str

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.model}"


@dataclass(frozen=True)
class Plan:
    """What all cells share."""

    ratios: tuple[float, ...]
    small: bool
    torch_pruning: str | None
    out: str


def made(plan: Plan, cell: Cell) -> Net:
    """The network of a cell, drawn alike each time."""
    import torch

    torch.manual_seed(0)
    return zoo(cell.model, plan.small) if cell.kind == "zoo" else small_net(cell.model)


def work(plan: Plan, cell: Cell) -> Rows:
    """The rows of one network: dense, then each tool at each ratio."""
    from flyweight.core.task import Splits, Task
    from flyweight.surgery.couple.couple import couple
    from flyweight.tasks.accuracy import accuracy
    from flyweight.tasks.cross_entropy import cross_entropy

    found = made(plan, cell)
    task = Task(
        name=cell.name,
        model=found.model,
        example=found.example,
        data=Splits(train=[], calibrate=[], select=[], report=[]),  # magnitude asks for none
        loss=cross_entropy,
        quality=accuracy,
    )
    dense = _row(plan, cell, task, "dense", None, lambda: (found.model, lambda: (None, None)))
    rows = [dense]
    try:
        coupling = couple(found.model, found.example)
        kinds, refused = {group.kind for group in coupling.groups}, dict(coupling.refused)
    except Exception as error:  # Prune will say it
        kinds, refused = set(), {"": _line(error)}
    for ratio in plan.ratios:
        rows.append(_row(plan, cell, task, OURS, ratio, lambda r=ratio: _ours(task, r, kinds), dense))
        if plan.torch_pruning:
            rows.append(_row(plan, cell, task, THEIRS, ratio, lambda r=ratio: _theirs(found, r), dense))
    for row in rows:
        if row["tool"] == OURS:
            row["reasons"] = {
                layer: why for layer, why in refused.items() if row["alone"] is None or layer in row["alone"]
            }
    return rows


def _ours(task: Any, ratio: float, kinds: set[str]) -> tuple[Any, Any]:
    """(smaller, what makes (masked, None))."""
    from flyweight import Prune, Remove
    from flyweight.compress.prune.structures.channel import channel
    from flyweight.compress.prune.structures.head import head

    masked = task.model
    for structure in (channel(), head()):
        if not kinds or type(structure).__name__ in kinds:  # none at all: Prune says why
            masked = Prune(ratio, structure=structure)(masked, task)
    return Remove()(masked, task), lambda: (masked, None)


def _theirs(net: Net, ratio: float) -> tuple[Any, Any]:
    """(smaller, what makes (masked or None, why None))."""

    def again(model: Any, importances: Any) -> Any:
        example = tuple(t.double() if t.is_floating_point() else t for t in net.example)
        return theirs.pruned(model, example, ratio, net.outputs, net.heads, None, importances)[0]

    smaller, heard = theirs.pruned(net.model, net.example, ratio, net.outputs, net.heads, net.after)
    return smaller, lambda: theirs.masked_twin(net.model, net.example, smaller, again, heard)


def _row(
    plan: Plan, cell: Cell, task: Any, tool: str, ratio: float | None, make: Any, dense: Any = None
) -> dict[str, Any]:
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.forward import as_forward
    from flyweight.deploy.runtimes.open import open_artifact, runtime_name
    from flyweight.measure.footprint import footprints

    file = f"{cell.name}-{tool}{'' if ratio is None else f'-{ratio:g}'}.onnx".replace(" ", "-")
    row: dict[str, Any] = {"kind": cell.kind, "model": cell.model, "tool": tool, "ratio": ratio}
    row |= {"handled": False, "exported": False}
    row |= dict.fromkeys(
        ("failure", "same_as_masked", "difference", "not_comparable", "alone", "parameters", "macs", "macs_left"),
    )
    row |= {"file": file, "latency_ms": None, "times_faster": None}
    start, stage = time.time(), "pruning"
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(PATIENCE_S)
    try:
        smaller, twin = make()
        row["prune_s"] = round(time.time() - start, 2)
        stage = "running"
        shapes = [t.shape for t in _told(task.model, task.example)]
        outputs = _told(smaller, task.example)
        if [t.shape for t in outputs] != shapes:
            raise ValueError(f"outputs are {[tuple(t.shape) for t in outputs]}, not {[tuple(s) for s in shapes]}")
        row["alone"] = _alone(task.model, smaller)
        stage = "comparing with the masked one"
        masked, why = twin()
        if masked is not None:
            row["difference"] = _difference(_told(masked, task.example, True), _told(smaller, task.example, True))
            row["same_as_masked"] = row["difference"] <= SAME
        row["not_comparable"] = why
        stage = "pruning"
        count = sum(p.numel() for p in smaller.parameters())
        if dense is not None and count == sum(p.numel() for p in task.model.parameters()):
            raise ValueError("nothing was removed")
        row["parameters"] = count
        if dense is None or dense["exported"]:
            stage = "export"
            path = Path(plan.out) / "models" / file
            export_onnx(smaller, dataclasses.replace(task, model=smaller), path)
            stage = "ONNX Runtime"
            off = _difference(outputs, _told(as_forward(open_artifact(path)), task.example))
            if off > FILE_SAME:
                raise ValueError(f"the file's outputs are off by {off:.1e}")
            sheet = footprints([path], runtime=runtime_name("onnxruntime"), upto="counts")[0]
            row |= {"exported": True, "parameters": sheet.parameters, "macs": sheet.macs}
            if dense is not None and dense["macs"] and sheet.macs is not None:
                row["macs_left"] = sheet.macs / dense["macs"]
        row["handled"] = True
    except Exception as error:
        row["failure"] = f"{stage}: {_line(error)}"
    finally:
        signal.alarm(0)
    return row


def _late(*_: Any) -> None:
    raise TimeoutError(f"took more than {PATIENCE_S} s")


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else str(traceback.extract_tb(error.__traceback__)[-1].line)  # a bare assert says nothing
    return (text if text.startswith(type(error).__name__) else f"{type(error).__name__}: {text}")[:400]


def _told(model: Any, example: tuple[Any, ...], double: bool = False) -> list[Any]:
    """All tensors that the model returns."""
    import torch
    from torch.utils import _pytree as pytree

    if double:
        model = copy.deepcopy(model).double()
        example = tuple(t.double() if t.is_floating_point() else t for t in example)
    with torch.no_grad():
        return [t for t in pytree.tree_leaves(model(*example)) if isinstance(t, torch.Tensor)]


def _difference(ones: list[Any], others: list[Any]) -> float:
    return max(
        (float((a - b).abs().max() / a.abs().max().clamp(min=1e-30)) for a, b in zip(ones, others, strict=True)),
        default=0.0,
    )


def _alone(dense: Any, smaller: Any) -> list[str]:
    """The layers that make as much as they did."""
    now = dict(smaller.named_modules())
    return [name for name, module in dense.named_modules() if (n := _made_by(module)) and n == _made_by(now.get(name))]


def _made_by(module: Any) -> int | None:
    from torch import nn

    if isinstance(module, nn.Linear):
        return int(module.weight.shape[0])
    if isinstance(module, nn.modules.conv._ConvNd):
        return int(module.weight.shape[1]) * module.groups if module.transposed else int(module.weight.shape[0])
    if isinstance(module, nn.Embedding):
        return int(module.weight.shape[1])
    if isinstance(module, nn.LSTM):
        return int(module.weight_hh_l0.shape[1])
    return None


def time_(plan: Plan, rows: Rows, cells: list[Cell], seconds: float) -> None:
    """Fills in the latencies of the families, network by network, its files in turns on one thread."""
    from flyweight.deploy.runtimes.open import runtime_name
    from flyweight.measure.footprint import footprints

    for cell in cells:
        here = [r for r in rows if (r["kind"], r["model"]) == (cell.kind, cell.model) and r["handled"]]
        base = [r for r in here if r["tool"] == "dense"]
        here = [r for r in here if r["exported"]]
        if cell.kind != "zoo" or not base:
            continue  # a call of the tests' networks is all overhead
        folder = Path(plan.out) / "models"
        sheets = footprints(
            [folder / r["file"] for r in here],
            runtime=runtime_name("onnxruntime"),
            baseline=folder / base[0]["file"],
            inputs=[t[:1].numpy() for t in made(plan, cell).example],
            seconds=seconds,
            upto="latency",
        )
        for row, sheet in zip(here, sheets, strict=True):
            row |= {
                "latency_ms": sheet.latency_ms,
                "latency_iqr_ms": sheet.latency_iqr_ms,
                "times_faster": sheet.speedup,
            }
        say(f"{cell.name}: timed")


def summary(rows: Rows) -> dict[str, Any]:
    """Of each kind of networks and tool, how many are handled at every ratio; of those that both do, what is left."""
    found: dict[str, Any] = {}
    for kind in ("zoo", "nets"):
        of = [r for r in rows if r["kind"] == kind and r["tool"] != "dense"]
        names = list(dict.fromkeys(r["model"] for r in of))
        by = {(r["model"], r["tool"], r["ratio"]): r for r in of}
        ratios = sorted({r["ratio"] for r in of})
        told_: dict[str, Any] = {"networks": len(names)}
        for tool in dict.fromkeys(r["tool"] for r in of):
            mine = [r for r in of if r["tool"] == tool]
            handled = [n for n in names if all(by[n, tool, ratio]["handled"] for ratio in ratios)]
            told_[tool] = {
                "handled": len(handled),
                "not_handled": [n for n in names if n not in handled],
                "rows": len(mine),
                "rows_handled": sum(r["handled"] for r in mine),
                "rows_same_as_masked": sum(r["handled"] and r["same_as_masked"] is True for r in mine),
                "rows_other_than_masked": sum(r["handled"] and r["same_as_masked"] is False for r in mine),
                "rows_not_comparable": sum(r["handled"] and r["not_comparable"] is not None for r in mine),
            }
        for ratio in ratios:
            pairs = [(by[n, OURS, ratio], by.get((n, THEIRS, ratio))) for n in names]
            both = [(a, b) for a, b in pairs if b and a["handled"] and b["handled"]]
            if not both:
                continue
            told_[f"both_at_{ratio:g}"] = {"networks": len(both)} | {
                f"{field}_{tool}": _mean([pair[i][field] for pair in both])
                for field in ("macs_left", "times_faster")
                for i, tool in enumerate((OURS, THEIRS))
            }
        found[kind] = told_
    return found


def _mean(values: list[float | None]) -> float | None:
    """The geometric mean; None where a value is missing."""
    whole = [v for v in values if v]
    return statistics.geometric_mean(whole) if whole and len(whole) == len(values) else None


def text(rows: Rows, figures: dict[str, Any]) -> str:
    """The table and the figures, for a terminal."""
    head = ("network", "ratio", "tool", "handled", "same as masked", "MACs left", "parameters", "ms", "times faster")
    lines = []
    for r in (r for r in rows if r["tool"] != "dense"):
        same = {True: "yes", False: f"no, {r['difference'] or 0:.0e} off", None: "not comparable"}[r["same_as_masked"]]
        handled = "yes" if r["handled"] else (r["failure"] or "")[:90].replace("|", "/")
        fields = ("macs_left", "parameters", "latency_ms", "times_faster")
        lines.append(
            [r["model"], r["ratio"], r["tool"], handled, same if r["handled"] else None, *(r[f] for f in fields)]
        )
    told_ = [f"{kind} {name}: {value}" for kind, of in figures.items() for name, value in of.items()]
    return "\n".join([table(head, lines), "", *told_])


def main() -> None:
    """Reads the command line, makes the cells, times their files, prints the figures."""
    parser = arguments(__doc__, "run/pruning-coverage")
    parser.add_argument("--ratios", default="0.3,0.5,0.7")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each file is timed")
    parser.add_argument("--only", help="networks by name, with commas between")
    args = parser.parse_args()
    start = time.time()
    if args.quick:
        args.ratios, args.seconds, args.out = "0.5", 0.3, f"{args.out}-quick"
    version = theirs.version()
    if version is None:
        say(f"Torch-Pruning is not installed, so its rows are left out: {theirs.WAY}")
    from coupled_nets import NETS

    plan = Plan(tuple(map(float, args.ratios.split(","))), args.quick, version, args.out)
    (Path(plan.out) / "models").mkdir(parents=True, exist_ok=True)
    cells = [*(Cell("zoo", name) for name in ZOO), *(Cell("nets", name) for name in NETS)]
    if args.only:
        cells = [cell for cell in cells if cell.model in args.only.split(",")]
    rows, missing = execute(work, plan, cells, plan.out, args.jobs, args.minutes)
    order = {(cell.kind, cell.model): i for i, cell in enumerate(cells)}
    rows.sort(key=lambda r: (order[r["kind"], r["model"]], r["ratio"] or 0, r["tool"]))
    if missing:
        say(f"missing: {missing}")
    time_(plan, rows, cells, args.seconds)
    figures = summary(rows)
    more = {**figures, "trained": False, "left_out": None if version else f"torch-pruning, not installed: {theirs.WAY}"}
    finish(args, told(plan, rows, missing, time.time() - start, **more), text(rows, figures))


if __name__ == "__main__":
    main()
