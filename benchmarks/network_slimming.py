"""Network slimming on Fashion-MNIST: VGG-19 with batch-norm, L1 on its scales, 70 % of the channels gone for real.

The baseline trains E epochs. The slimmed network trains E epochs with a price on |γ|, loses the channels of the least
|γ| over all layers (none is emptied), is made smaller for real, and is fine-tuned for E epochs under the same schedule:
by the labels, and once more by distillation from the baseline. A second baseline goes on for as long. Images of 28×28
are padded to the paper's 32×32 (--pad 2), so that four poolings leave 2×2 to the last stage; with --pad 0 they leave
1×1 (28, 14, 7, 3, 1). ``--tune`` tries several strengths of the L1 on another seed and takes the best on the select
split. The paper (Liu et al. 2017, arXiv:1708.06519): CIFAR-10, 20.04 M parameters to 2.25 M, 8.9 times fewer, at an
error of 6.34 % and 6.20 %.

    python benchmarks/network_slimming.py --quick --json          # two cores, minutes, fashion-mini
    python benchmarks/network_slimming.py --out run/slimming --jobs 6 --record benchmarks/results/network_slimming.json
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from built import built
from cells import Rows, arguments, execute, finish, say, table, told  # (siblings: the benchmark folder is no package)
from intervals import mean_interval
from trials import TUNING, Cell, best

LEAST_TIMES_FEWER, MOST_POINTS_LOST = 8.9, 0.1


SETTINGS = ("1e-4", "3e-4", "6e-4", "1e-3")
"""The strengths of the L1 that ``--tune`` tries; the first where nothing is tuned is ``--strength``."""


@dataclass(frozen=True)
class Plan:
    """What all cells share."""

    task: str
    pad: int
    depth: int
    width: float
    epochs: int
    batch_size: int
    lr: float
    decay: float
    ratio: float
    temperature: float
    out: str

    def start(self, seed: int, task: Any) -> Any:
        from flyweight.models.vgg import vgg

        return built(vgg, task, seed, depth=self.depth, width=self.width)

    def train(self, seed: int, task: Any, loss: Any = None) -> Any:
        """The one schedule: SGD with Nesterov momentum and cosine decay."""
        from flyweight import Train, sgd

        optimizer = sgd(lr=self.lr, weight_decay=self.decay, warmup=0.02)
        return Train(self.epochs, optimizer, loss, task.augment, self.batch_size, seed)

    def recipes(self, cell: Cell, task: Any) -> dict[str, tuple[Any, ...]]:
        """The recipes of ``cell``, by the names of their rows; each goes on from the one before it."""
        from flyweight import Prune, distilled, penalized
        from flyweight.compress.prune.distributions.global_ import global_
        from flyweight.compress.prune.remove import Remove
        from flyweight.compress.prune.scores.norm_scale import norm_scale
        from flyweight.compress.prune.structures.channel import channel
        from flyweight.compress.sparsify.slimming import slimming

        start, train = self.start(cell.seed, task), self.train(cell.seed, task)
        if cell.arm == "baseline":
            return {"baseline": (start, train), "baseline, twice as long": (start, train, train)}
        sparse = self.train(cell.seed, task, penalized(slimming(float(cell.setting))))
        learnt = distilled(self.temperature, hard=0.25, teachers=((start, train),))
        cut = Prune(self.ratio, score=norm_scale(), structure=channel(), distribution=global_(of="units"))
        return {
            "sparse": (start, sparse),
            "slimmed, not tuned": (start, sparse, cut, Remove()),
            "slimmed": (start, sparse, cut, Remove(), train),
            "slimmed, distilled": (start, sparse, cut, Remove(), self.train(cell.seed, task, learnt)),
        }


SHOWN = ("baseline", "baseline, twice as long", "slimmed", "slimmed, distilled")
"""The rows whose quality is read on the report split; of the others only on select."""


def work(plan: Plan, cell: Cell) -> Rows:
    """The rows of one cell; every file is opened again in ONNX Runtime and scored there."""
    from flyweight import Store, run
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.parity import check_parity
    from flyweight.deploy.runtimes.open import open_artifact, runtime_name
    from flyweight.deploy.score import score
    from flyweight.measure.footprint import footprints

    task, store = padded(plan.task, plan.pad), Store(Path(plan.out) / "store")
    rows = []
    for name, recipe in plan.recipes(cell, task).items():
        start = time.time()
        model = run(recipe, task.model, task, store)
        trained = time.time()
        path = (
            Path(plan.out) / "models" / f"{cell.seed}-{cell.setting}-{name.replace(', ', '-').replace(' ', '-')}.onnx"
        )
        artifact = export_onnx(model, task, path)
        check_parity(model, artifact, task)
        session = open_artifact(artifact.path)
        (sheet,) = footprints([artifact.path], runtime=runtime_name("onnxruntime"), upto="counts")
        rows.append(
            {
                **dataclasses.asdict(cell),
                "row": name,
                "select": score(session, task, "select").value,
                "report": score(session, task, "report").value if cell.reported and name in SHOWN else None,
                "parameters": sheet.parameters,
                "macs": sheet.macs,
                "size_bytes": sheet.size_bytes,
                "channels": widths(model),
                "train_s": round(trained - start, 1),
            }
        )
    return rows


def padded(name: str, pad: int) -> Any:
    """The task ``name`` with its images padded by ``pad`` black pixels on each side."""
    from torch.nn.functional import pad as pad_images
    from torch.utils.data import TensorDataset

    from flyweight import load_task

    task = load_task(name)
    if not pad:
        return task

    def wider(images: Any) -> Any:
        return pad_images(images, (pad,) * 4)

    splits = {
        f.name: TensorDataset(wider((part := getattr(task.data, f.name)).tensors[0]), *part.tensors[1:])
        for f in dataclasses.fields(task.data)
    }
    return dataclasses.replace(
        task, name=f"{name}-padded-{pad}", example=(wider(task.example[0]),), data=type(task.data)(**splits)
    )


def widths(model: Any) -> list[int]:
    """The output channels of each convolution."""
    from torch import nn

    return [layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)]


def summary(rows: Rows) -> dict[str, Any]:
    """The figures of both fine-tunings: times fewer parameters, MACs and bytes, and the points lost to each baseline,
    with Student's interval over the seeds that have both arms."""
    return {name: found for name in SHOWN[2:] if (found := _figures(rows, name))}


def _figures(rows: Rows, name: str) -> dict[str, Any]:
    by = {(row["row"], row["seed"]): row for row in rows}
    seeds = sorted({s for n, s in by if n == name} & {s for n, s in by if n == "baseline"})
    if not seeds:
        return {}
    found: dict[str, Any] = {"seeds": len(seeds)}
    for field in ("parameters", "macs", "size_bytes"):
        found[f"times_fewer_{field}"] = statistics.fmean(by["baseline", s][field] / by[name, s][field] for s in seeds)
    for other, short in (("baseline", "baseline"), ("baseline, twice as long", "twice_as_long")):
        lost = [100 * (by[other, s]["report"] - by[name, s]["report"]) for s in seeds]
        mean, wide = mean_interval(lost)
        found[f"points_lost_to_{short}"] = {"points": mean, "pm": wide, "each": lost}
    fewer, lost_ = found["times_fewer_parameters"], found["points_lost_to_baseline"]["points"]
    found["kept"] = fewer >= LEAST_TIMES_FEWER and lost_ <= MOST_POINTS_LOST
    return found


def text(rows: Rows, figures: dict[str, Any]) -> str:
    """The table and the figures, for a terminal."""
    names = list(dict.fromkeys(row["row"] for row in rows))
    lines = []
    for name in names:
        of = [row for row in rows if row["row"] == name]
        told_ = {f: [row[f] for row in of if row[f] is not None] for f in of[0]}
        lines.append(
            [
                name,
                len(of),
                *(100 * statistics.fmean(told_[f]) if told_[f] else None for f in ("select", "report")),
                *(round(statistics.fmean(told_[f])) for f in ("parameters", "macs", "size_bytes")),
            ]
        )
    shown = table(("row", "seeds", "select %", "report %", "parameters", "MACs", "bytes"), lines)
    return "\n".join([shown, "", *(f"{arm}: {k} {v}" for arm, told_ in figures.items() for k, v in told_.items())])


def main() -> None:
    """Reads the command line, makes the cells, prints the figures."""
    parser = arguments(__doc__, "run/network-slimming")
    parser.add_argument("--task", default="fashion")
    parser.add_argument("--pad", type=int, default=2)
    parser.add_argument("--depth", type=int, default=19)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--strength", default="1e-4", help="of the L1, where it is not tuned")
    parser.add_argument("--tune", type=int, default=0, help="seeds for choosing the strength on select; 0: none")
    parser.add_argument("--ratio", type=float, default=0.7)
    parser.add_argument("--temperature", type=float, default=8.0, help="of the distilled fine-tuning")
    args = parser.parse_args()
    if args.quick:
        args.task, args.pad, args.depth, args.width, args.seeds, args.epochs = "fashion-mini", 0, 11, 0.125, 1, 2
        args.lr, args.strength, args.out = 0.05, "1e-3", f"{args.out}-quick"
    shared = {f.name: getattr(args, f.name) for f in dataclasses.fields(Plan)}
    plan = Plan(**shared)
    start = time.time()
    trials = [Cell("slimmed", strength, TUNING + n, False) for strength in SETTINGS for n in range(args.tune)]
    tried, absent = execute(work, plan, trials, plan.out, args.jobs, args.minutes)
    ends = [row for row in tried if row["row"] == "slimmed"]
    chosen = best("slimmed", SETTINGS, ends) if ends else args.strength
    cells = [
        Cell(arm, chosen if arm == "slimmed" else "plain", seed, True)
        for arm in ("baseline", "slimmed")  # teachers first
        for seed in range(args.seeds)
    ]
    rows, missing = execute(work, plan, cells, plan.out, args.jobs, args.minutes - (time.time() - start) / 60)
    order = [*SHOWN[:2], "sparse", "slimmed, not tuned", *SHOWN[2:]]
    rows.sort(key=lambda row: (order.index(row["row"]), row["seed"]))
    figures = summary(rows)
    if missing:
        say(f"missing: {missing}")
    finish(
        args,
        told(plan, rows, absent | missing, time.time() - start, strength=chosen, tuning=tried, figures=figures),
        text(rows, figures),
    )


if __name__ == "__main__":
    main()
