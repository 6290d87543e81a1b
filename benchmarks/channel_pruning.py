"""Channels pruned from ResNets on Fashion-MNIST: fewer MACs, and how much faster the file really is.

The dense network trains E epochs, and is the teacher. The pruned one is it without the channels that matter least
(--score, --distribution), the least ratio at which the exported file has --times fewer MACs, made smaller for real and
fine-tuned by distillation from the dense one. The dense network, fine-tuned by the same distillation for as long, is
the twin that it is compared with besides. Torch-Pruning publishes 2.13 times fewer MACs for ResNet-56 on CIFAR-10 at no
loss, and no latency.

    python benchmarks/channel_pruning.py --quick --json           # two cores, minutes, fashion-mini
    python benchmarks/channel_pruning.py --depth 56 --out run/channels --jobs 6 --record run/channels.json

Files lie in OUT/models. Latency is of a CPU, in one interleaved run, best on a quiet machine, not on the one that
trains; the rows of the record are completed with it:

    python benchmarks/channel_pruning.py --latency OUT/models --record run/channels.json
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from built import built
from cells import Rows, arguments, execute, finish, say, table, told  # (a sibling: the benchmark folder is no package)

LEAST_FEWER_MACS, LEAST_FASTER, MOST_POINTS_LOST = 2.1, 1.6, 0.1
_LOOKS = 64
"""Ratios tried are multiples of 1 / this."""


@dataclass(frozen=True)
class Cell:
    """One arm of one depth under one seed."""

    depth: int
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"resnet{self.depth}-{self.arm}-s{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What all cells share."""

    task: str
    width: float
    epochs: int
    tune_epochs: int
    batch_size: int
    lr: float
    tune_lr: float
    decay: float
    temperature: float
    times: float
    score: str
    distribution: str
    round_to: int
    out: str

    def dense(self, cell: Cell, task: Any) -> tuple[Any, ...]:
        """The recipe of the dense network."""
        from flyweight.models.resnet import resnet

        build = built(resnet, task, cell.seed, depth=cell.depth, width=self.width)
        return (build, self.train(cell, task, self.epochs, self.lr))

    def train(self, cell: Cell, task: Any, epochs: int, lr: float, loss: Any = None) -> Any:
        """SGD with Nesterov momentum and cosine decay, for every arm."""
        from flyweight import Train, sgd

        optimizer = sgd(lr=lr, weight_decay=self.decay, warmup=0.02)
        return Train(epochs, optimizer, loss, task.augment, self.batch_size, cell.seed)

    def tune(self, cell: Cell, task: Any) -> Any:
        """Fine-tuning by distillation from the dense network."""
        from flyweight import distilled

        taught = distilled(temperature=self.temperature, teachers=(self.dense(cell, task),))
        return self.train(cell, task, self.tune_epochs, self.tune_lr, taught)

    def prune(self, ratio: float) -> Any:
        """The step at ``ratio``, with the plan's axes, by the names of flyweight's own modules."""
        from flyweight import Prune
        from flyweight.compress.prune.structures.channel import channel
        from flyweight.core.serial import find

        score, distribution = (
            find(f"flyweight.compress.prune.{room}.{name}.{name}")()
            for room, name in (("scores", self.score), ("distributions", self.distribution))
        )
        return Prune(ratio, score=score, structure=channel(self.round_to), distribution=distribution)


def work(plan: Plan, cell: Cell) -> Rows:
    """The rows of one cell."""
    from flyweight import Store, load_task
    from flyweight.compress.prune.remove import Remove

    task, store = load_task(plan.task), Store(Path(plan.out) / "store")
    dense = plan.dense(cell, task)
    if cell.arm == "dense":
        return [
            row(plan, cell, task, store, "dense", dense, None),
            row(plan, cell, task, store, "dense, tuned as long", (*dense, plan.tune(cell, task)), None),
        ]
    ratio = least_ratio(plan, task, store, dense)
    recipe = (*dense, plan.prune(ratio), Remove(), plan.tune(cell, task))
    return [row(plan, cell, task, store, "pruned", recipe, ratio)]


def least_ratio(plan: Plan, task: Any, store: Any, dense: tuple[Any, ...]) -> float:
    """The least ratio, in multiples of 1/64, at which the file has ``times`` fewer MACs than the dense one's."""
    from flyweight import run
    from flyweight.compress.prune.remove import Remove

    model = run(dense, task.model, task, store)
    limit = macs(model, task) / plan.times
    low, high = 0, _LOOKS - 1
    if macs(Remove()(plan.prune(high / _LOOKS)(model, task), task), task) > limit:
        raise SystemExit(
            f"{plan.times} times fewer MACs are out of reach: even a ratio of {high / _LOOKS} leaves more."
        )
    while high - low > 1:
        middle = (low + high) // 2
        fits = macs(Remove()(plan.prune(middle / _LOOKS)(model, task), task), task) <= limit
        low, high = (low, middle) if fits else (middle, high)
    return high / _LOOKS


def macs(model: Any, task: Any) -> int:
    """The multiply-accumulates of the exported file."""
    import tempfile

    from flyweight.deploy.export.onnx import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        return int(counts(export_onnx(model, task, Path(folder) / "look.onnx").path).macs)


def counts(path: Path) -> Any:
    """What can be counted on a file."""
    from flyweight.deploy.runtimes.open import runtime_name
    from flyweight.measure.footprint import footprints

    return footprints([path], runtime=runtime_name("onnxruntime"), upto="counts")[0]


def row(
    plan: Plan, cell: Cell, task: Any, store: Any, name: str, recipe: tuple[Any, ...], ratio: float | None
) -> dict[str, Any]:
    """Trains, exports, opens the file again in ONNX Runtime and scores it there, on report once."""
    from flyweight import run
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.parity import check_parity
    from flyweight.deploy.runtimes.open import open_artifact
    from flyweight.deploy.score import score

    start = time.time()
    model = run(recipe, task.model, task, store)
    trained = time.time()
    file = f"resnet{cell.depth}-{name.replace(', ', '-').replace(' ', '-')}-s{cell.seed}.onnx"
    artifact = export_onnx(model, task, Path(plan.out) / "models" / file)
    check_parity(model, artifact, task)
    session, sheet = open_artifact(artifact.path), counts(artifact.path)
    return {
        "depth": cell.depth,
        "row": name,
        "seed": cell.seed,
        "file": file,
        "ratio": ratio,
        "select": score(session, task, "select").value,
        "report": score(session, task, "report").value,
        "parameters": sheet.parameters,
        "macs": sheet.macs,
        "size_bytes": sheet.size_bytes,
        "latency_ms": None,
        "train_s": round(trained - start, 1),
    }


def time_(rows: Rows, folder: Path, seconds: float) -> str | None:
    """Fills in the latency of the rows whose files are in ``folder``, all timed in turns on one thread."""
    from flyweight.deploy.runtimes.open import runtime_name
    from flyweight.measure.footprint import footprints

    here = [r for r in rows if (folder / r["file"]).exists()]
    dense = next((r for r in here if r["row"] == "dense"), None)
    if dense is None:
        raise SystemExit(f"{folder} does not hold the files of the record's rows. Name OUT/models of that run.")
    sheets = footprints(
        [folder / r["file"] for r in here],
        runtime=runtime_name("onnxruntime"),
        baseline=folder / dense["file"],
        threads=1,
        seconds=seconds,
        upto="latency",
    )
    for r, sheet in zip(here, sheets, strict=True):
        r |= {"latency_ms": sheet.latency_ms, "latency_iqr_ms": sheet.latency_iqr_ms}
    left = [r["file"] for r in rows if r not in here]
    return f"not timed, for {folder} lacks them: {', '.join(left)}" if left else None


def summary(rows: Rows) -> dict[str, Any]:
    """The figures of each depth, over the seeds that have both arms."""
    found: dict[str, Any] = {}
    for depth in sorted({r["depth"] for r in rows}):
        by = {(r["row"], r["seed"]): r for r in rows if r["depth"] == depth}
        seeds = sorted({s for n, s in by if n == "pruned"} & {s for n, s in by if n == "dense"})
        if not seeds:
            continue
        pairs = [(by["dense", s], by["dense, tuned as long", s], by["pruned", s]) for s in seeds]
        lost = [100 * (dense["report"] - pruned["report"]) for dense, _, pruned in pairs]
        figures: dict[str, Any] = {
            "seeds": len(seeds),
            "times_fewer_macs": statistics.fmean(d["macs"] / p["macs"] for d, _, p in pairs),
            "times_fewer_parameters": statistics.fmean(d["parameters"] / p["parameters"] for d, _, p in pairs),
            "times_fewer_bytes": statistics.fmean(d["size_bytes"] / p["size_bytes"] for d, _, p in pairs),
            "points_lost": statistics.fmean(lost),
            "points_lost_each": lost,
            "points_lost_against_the_dense_tuned_as_long": statistics.fmean(
                100 * (t["report"] - p["report"]) for _, t, p in pairs
            ),
            "times_faster": None,
        }
        timed = [d["latency_ms"] / p["latency_ms"] for d, _, p in pairs if d["latency_ms"] and p["latency_ms"]]
        if timed:
            figures |= {"times_faster": statistics.fmean(timed), "times_faster_each": timed}
        figures["kept"] = (
            figures["times_fewer_macs"] >= LEAST_FEWER_MACS
            and figures["points_lost"] <= MOST_POINTS_LOST
            and (figures["times_faster"] or 0) >= LEAST_FASTER
        )
        found[f"resnet{depth}"] = figures
    return found


def text(rows: Rows, figures: dict[str, Any]) -> str:
    """The table and the figures, for a terminal."""
    head = ("depth", "row", "seed", "ratio", "select %", "report %", "parameters", "MACs", "bytes", "ms")
    fields = ("parameters", "macs", "size_bytes", "latency_ms")
    lines = [
        [r["depth"], r["row"], r["seed"], r["ratio"], 100 * r["select"], 100 * r["report"], *(r[f] for f in fields)]
        for r in rows
    ]
    told_ = [f"{name} {field:45} {value}" for name, of in figures.items() for field, value in of.items()]
    return "\n".join([table(head, lines), "", *told_])


def main() -> None:
    """Reads the command line, makes the cells or times their files, prints the figures."""
    parser = arguments(__doc__, "run/channel-pruning")
    parser.add_argument("--latency", metavar="MODELS", help="only time the files of the run in --record, on this CPU")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each file is timed")
    parser.add_argument("--task", default="fashion")
    parser.add_argument("--depths", "--depth", default="20,56")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--tune-epochs", type=int, default=80)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--tune-lr", type=float, default=0.05)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--times", type=float, default=2.15, help="how many times fewer MACs, at the least")
    parser.add_argument("--score", default="taylor", help="a module of compress/prune/scores")
    parser.add_argument("--distribution", default="sensitivity", help="a module of compress/prune/distributions")
    parser.add_argument("--round-to", type=int, default=8)
    args = parser.parse_args()
    start = time.time()
    if args.latency:
        if not args.record or not Path(args.record).exists():
            parser.error("--latency needs --record, the JSON of the run whose files are timed")
        from flyweight.measure.host import host

        found = json.loads(Path(args.record).read_text())
        rows = found["rows"]
        left = time_(rows, Path(args.latency), args.seconds)
        figures = summary(rows)
        found |= {**figures, "rows": rows, "latency_host": host(), "latency_left": left}
        finish(args, found, text(rows, figures))
        return
    if args.quick:
        args.task, args.depths, args.width, args.seeds, args.epochs, args.tune_epochs = (
            "fashion-mini",
            "8",
            1.0,
            1,
            2,
            2,
        )
        args.round_to, args.seconds, args.out = 4, 0.5, f"{args.out}-quick"
    plan = Plan(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Plan)})
    depths = sorted(map(int, args.depths.split(",")), reverse=True)
    # The dense ones first: the pruned wait for them.
    cells = [Cell(d, arm, seed) for arm in ("dense", "pruned") for d in depths for seed in range(args.seeds)]
    rows, missing = execute(work, plan, cells, plan.out, args.jobs, args.minutes)
    rows.sort(key=lambda r: (r["depth"], r["row"], r["seed"]))
    if missing:
        say(f"missing: {missing}")
    if args.quick and rows:
        time_(rows, Path(plan.out) / "models", args.seconds)
    figures = summary(rows)
    finish(args, told(plan, rows, missing, time.time() - start, **figures), text(rows, figures))


if __name__ == "__main__":
    main()
