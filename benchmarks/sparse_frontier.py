"""Quality, bytes and latency of pruned networks on one picture: MobileNetV2 and MiniLM on the sparse kernels.

``--train`` makes the networks, on GPUs: MobileNetV2 with ImageNet's values learns Fashion-MNIST enlarged to 224×224 in
three equal channels, then loses 4×1 blocks (80 and 90 %) or single weights (90 %) gradually, in training, and learns
from the dense one, over ``--seeds``; the first is exported. Of each the values are kept in one file, zeros where
weights are gone. MiniLM's are those of ``minilm_pruning.py``; ``--minilm`` names its --out. ``--files``, on a CPU,
exports each network plain, as int8 and for the sparse kernels, scores every file on the report split in ONNX Runtime
(once: the scores are kept beside the files), times all files of a network in turns, and draws the picture beside the
record.

    python benchmarks/sparse_frontier.py --quick                                          # two cores, minutes
    python benchmarks/sparse_frontier.py --train --jobs 4 --out run/frontier                    # on GPUs
    python benchmarks/sparse_frontier.py --files --out run/frontier --minilm run/minilm-pruning \\
        --record benchmarks/results/sparse_frontier.json
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cells import arguments, execute, finish, say, table, told  # (siblings: the benchmark folder is no package)
from scored import scored
from trials import Cell
from values import keep, restore

ARMS = {"dense": (0.0, 1), "blocks80": (0.8, 4), "blocks90": (0.9, 4), "weights90": (0.9, 1)}
"""Of MobileNetV2: the fraction that goes, in blocks of how many rows."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Plan:
    """What all networks share."""

    task: str
    side: int
    epochs: int
    prune_epochs: int
    batch_size: int
    lr: float
    width: float
    imagenet: str
    out: str


class Enlarged(nn.Module):
    """``network`` behind an enlargement of ``(N, 1, h, w)`` to three equal channels of ``side``, as ImageNet's are."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None])

    def enlarge(self, x: Tensor) -> Tensor:
        """``(N, 1, h, w)`` of a standardised image to ``(N, 3, side, side)``."""
        x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", align_corners=False)
        return ((0.35 * x + 0.29).clamp(0, 1).expand(-1, 3, -1, -1) - self.mean) / self.deviation

    def forward(self, x: Tensor) -> Tensor:
        """The network's logits."""
        return self.network(self.enlarge(x))  # type: ignore[no-any-return]


def images(plan: Plan) -> Any:
    """The task of MobileNetV2; small networks begin untrained, for there are no values of theirs."""
    from flyweight import load_task
    from flyweight.models.load_mobilenet_v2_weights import load_mobilenet_v2_weights
    from flyweight.models.mobilenet_v2 import mobilenet_v2

    task = load_task(plan.task)
    torch.manual_seed(0)
    network = mobilenet_v2(plan.width, classes=10)
    if plan.width == 1:
        network = load_mobilenet_v2_weights(network, plan.imagenet or None)
    return replace(task, name=f"{task.name}-{plan.side}", model=Enlarged(network, plan.side))


def recipe(plan: Plan, cell: Cell, task: Any) -> tuple[Any, ...]:
    """The steps of a MobileNetV2."""
    from flyweight import Prune, Train, adam, distilled
    from flyweight.compress.prune.distributions.uniform import uniform
    from flyweight.compress.prune.schedules.cubic import cubic
    from flyweight.compress.prune.structures.block import block

    ratio, rows = ARMS[cell.arm]
    tuned = adam(lr=plan.lr, weight_decay=1e-4, warmup=0.05, clip=1.0)
    dense = Train(plan.epochs, tuned, None, task.augment, plan.batch_size, cell.seed)
    if not ratio:
        return (dense,)
    spared = tuple(n for n, m in task.model.named_modules() if isinstance(m, nn.Conv2d) and m.groups > 1)
    cut = Prune(ratio, structure=block(rows, 1), distribution=uniform(), schedule=cubic(0.02, 0.6), exclude=spared)
    taught = distilled(4.0, hard=0.5, teachers=((dense,),))
    return dense, cut, Train(plan.prune_epochs, tuned, taught, task.augment, plan.batch_size, cell.seed)


def work(plan: Plan, cell: Cell) -> list[dict[str, Any]]:
    """Trains one MobileNetV2, scores it on the report split and keeps its values."""
    from flyweight import Store, run

    start, task = time.time(), images(plan)
    model: Any = run(recipe(plan, cell, task), task.model, task, Store(Path(plan.out) / "store"))
    trained = round(time.time() - start, 1)
    report = scored(model, task, ("report",), 250)
    kept = keep(model.network, Path(plan.out) / "values" / f"mobilenet_v2-{cell.arm}-s{cell.seed}.safetensors")
    return [{**dataclasses.asdict(cell), **report, **kept, "train_s": trained}]


def files(plan: Plan, folder: Path, text: str, reviews: str, weights: str, seconds: float) -> list[dict[str, Any]]:
    """A row for each file of each network: quality on report, bytes, and latency in turns with the dense file."""
    from flyweight.deploy.runtimes.open import runtime_name
    from flyweight.measure.footprint import footprints

    rows = []
    nets_: list[tuple[str, Any, Path]] = [("mobilenet_v2", _image_net, folder)]
    if text:
        nets_.append(("minilm", _text_net, Path(text)))
    for net, prepare, source in nets_:
        found = sorted((source / "values").glob(f"{net}-*-s0.safetensors"), key=lambda p: "dense" not in p.name)
        if not found:
            raise SystemExit(f"{net}: no values in {source / 'values'}; make them with --train or minilm_pruning.py")
        made = []
        for path in found:
            arm = path.name.split("-")[1]
            model, task, batches = prepare(plan, path, ARMS[arm][1], reviews, weights)
            made += [(arm, kind, artifact) for kind, artifact in _exports(model, task, folder / f"{net}-{arm}", arm)]
        sheets = footprints(
            [artifact.path for _, _, artifact in made], runtime=runtime_name("onnxruntime"), baseline=made[0][2].path,
            seconds=seconds, inputs=[t[:1].numpy() for t in task.example], upto="latency",
        )  # fmt: skip
        for (arm, kind, artifact), sheet in zip(made, sheets, strict=True):
            quality, count = _scored(artifact.path, batches)
            rows.append(
                {
                    "net": net, "arm": arm, "file": kind, "quality": quality, "n": count,
                    "size_bytes": sheet.size_bytes, "latency_ms": sheet.latency_ms, "speedup": sheet.speedup,
                    "notes": artifact.notes,
                }
            )  # fmt: skip
            say(str(rows[-1]))
    return rows


def _scored(path: Path, batches: Any) -> tuple[float, int]:
    """The share of right answers of the file at ``path``, and of how many; read back where it was scored before."""
    from flyweight.deploy.runtimes.open import open_artifact

    known = path.parent / "scores.json"
    kept = json.loads(known.read_text()) if known.exists() else {}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest not in kept:
        session, hits, count = open_artifact(path), 0, 0
        for *inputs, labels in batches():
            answers = torch.from_numpy(session(*(t.numpy() for t in inputs))[0])
            hits, count = hits + int((answers.argmax(1) == labels).sum()), count + len(labels)
        kept[digest] = [hits / count, count]
        known.write_text(json.dumps(kept, indent=1) + "\n")
    return kept[digest][0], kept[digest][1]


def _exports(model: nn.Module, task: Any, stem: Path, arm: str) -> list[tuple[str, Any]]:
    from flyweight import Quantize
    from flyweight.deploy.export.onnx import export_onnx

    made = [("plain", export_onnx(model, task, f"{stem}.onnx"))]
    if arm != "dense":
        made.append(("sparse kernels", export_onnx(model, task, f"{stem}-sparse.onnx", kernels="auto")))
    return [*made, ("int8", export_onnx(Quantize(bits=8)(model, task), task, f"{stem}-int8.onnx"))]


def _image_net(plan: Plan, path: Path, rows: int, reviews: str, weights: str) -> tuple[nn.Module, Any, Any]:
    """The network itself, its task on enlarged images, and the report split, enlarged a batch at a time."""
    from torch.utils.data import TensorDataset

    from flyweight.core.task import Splits
    from flyweight.core.task import batches as cut

    task = images(plan)
    whole: Any = task.model
    restore(whole.network, path, rows)

    def few(part: Any) -> Any:
        x, y = part.tensors
        return TensorDataset(whole.enlarge(x[:256]), y[:256])

    small = few(task.data.calibrate)
    splits = Splits(train=small, calibrate=small, select=few(task.data.select), report=small)
    own = replace(task, model=whole.network, example=(small.tensors[0][:1],), data=splits, family=None)
    return whole.network.eval(), own, lambda: ((whole.enlarge(x), y) for x, y in cut(task.data.report, 50))


def _text_net(plan: Plan, path: Path, rows: int, reviews: str, weights: str) -> tuple[nn.Module, Any, Any]:
    from flyweight.core.task import batches as cut
    from flyweight.tasks.movie_reviews import movie_reviews

    task = movie_reviews(128, 3, reviews or None, weights or None)
    restore(task.model, path, rows)
    own = replace(task, example=tuple(t[:1] for t in task.example))
    return task.model.eval(), own, lambda: cut(task.data.report, 16)


def picture(rows: list[dict[str, Any]]) -> str:
    """Quality against latency, a panel a network; a dot's area is the file's bytes."""
    import html
    import math

    wide, high, out = 520, 400, []
    nets_ = list(dict.fromkeys(row["net"] for row in rows))
    colours = {"plain": "#6b7280", "int8": "#2563eb", "sparse kernels": "#d97706"}
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide * len(nets_)} {high}" font-family="sans-serif"'
    out.append(f'{head} font-size="12"><rect width="{wide * len(nets_)}" height="{high}" fill="#fff"/>')
    for place, net in enumerate(nets_):
        of = [row for row in rows if row["net"] == net and row["latency_ms"]]
        x0, x1 = 0.8 * min(r["latency_ms"] for r in of), 1.2 * max(r["latency_ms"] for r in of)
        y0, y1 = 100 * min(r["quality"] for r in of) - 0.3, 100 * max(r["quality"] for r in of) + 0.3
        most = max(r["size_bytes"] for r in of)
        left = place * wide + 60
        for quality in range(math.ceil(2 * y0), math.floor(2 * y1) + 1):
            y = 40 + (high - 90) * (y1 - quality / 2) / (y1 - y0)
            out.append(f'<line x1="{left}" x2="{left + wide - 80}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e5e7eb"/>')
            out.append(
                f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#374151">{quality / 2:g} %</text>'
            )
        for row in of:
            x = left + (wide - 80) * math.log(row["latency_ms"] / x0) / math.log(x1 / x0)
            y = 40 + (high - 90) * (y1 - 100 * row["quality"]) / (y1 - y0)
            radius = 14 * math.sqrt(row["size_bytes"] / most)
            out.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{colours[row["file"]]}" fill-opacity=".65"/>'
            )
            if row["file"] == "plain" and row["arm"] != "dense":
                continue  # as high as its file for the sparse kernels, which has the label
            label = f"{row['arm']}, {row['latency_ms']:.2g} ms, {row['size_bytes'] / 1e6:.1f} MB"
            right = x > left + 0.6 * (wide - 80)  # there the label stands before its dot, for none is behind
            side = f'x="{x - radius - 4:.1f}" text-anchor="end"' if right else f'x="{x + radius + 4:.1f}"'
            out.append(f'<text {side} y="{y + 4:.1f}" fill="#111827">{html.escape(label)}</text>')
        out.append(f'<text x="{left}" y="24" font-weight="bold" fill="#111827">{net}</text>')
        foot = "ms, one thread (log scale) · top-1 on report · area: bytes · unlabelled: plain"
        out.append(f'<text x="{left}" y="{high - 12}" fill="#374151">{foot}</text>')
    for place, (kind, colour) in enumerate(colours.items()):
        x = 180 + 110 * place
        out.append(f'<circle cx="{x}" cy="20" r="5" fill="{colour}"/><text x="{x + 9}" y="24">{kind}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def shown(rows: list[dict[str, Any]]) -> str:
    """The table of all files."""
    lines = [
        [r["net"], r["arm"], r["file"], f"{100 * r['quality']:.2f}", r["size_bytes"], r["latency_ms"], r["speedup"]]
        for r in rows
    ]
    return table(("network", "arm", "file", "report %", "bytes", "ms", "× dense"), lines)


def main() -> None:
    """Reads the command line; trains, or makes files and measures them."""
    parser = arguments(__doc__, "run/sparse-frontier")
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--task", default="fashion")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3, help="of MobileNetV2; the first is exported")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--prune-epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seconds", type=float, default=3.0, help="of timing, a file")
    parser.add_argument("--imagenet", default="", help="the file of values, where the package is not installed")
    parser.add_argument("--minilm", default="", help="the --out of minilm_pruning.py")
    parser.add_argument("--reviews", default="", help="the CSV file, where the package is not installed")
    parser.add_argument("--model", default="", help="MiniLM's folder, where the package is not installed")
    args = parser.parse_args()
    if args.quick:
        args.train = args.files = True
        args.task, args.side, args.width, args.epochs, args.prune_epochs = "fashion-mini", 32, 0.25, 1, 1
        args.out, args.seconds, args.seeds = f"{args.out}-quick", 0.3, 1
    plan = Plan(**{f.name: getattr(args, f.name) for f in dataclasses.fields(Plan)})
    start, folder = time.time(), Path(args.out)
    if args.train:
        cells = [Cell("dense", "plain", seed, True) for seed in range(args.seeds)]
        rows, missing = execute(work, plan, cells, args.out, args.jobs, args.minutes)  # the others learn from them
        rest = [Cell(arm, "plain", seed, True) for seed in range(args.seeds) for arm in ARMS if arm != "dense"]
        more, unrun = execute(work, plan, rest, args.out, args.jobs, args.minutes - (time.time() - start) / 60)
        kept = told(plan, rows + more, missing | unrun, time.time() - start)
        (folder / "training.json").write_text(json.dumps(kept, indent=1) + "\n")
        if not args.files:
            lines = [(r["values"], r["zeros"], f"{100 * r['report']:.2f}") for r in kept["rows"]]
            finish(args, kept, table(("network", "zeros", "report %"), lines))
    if args.files:
        training = folder / "training.json"
        trained = json.loads(training.read_text()) if training.exists() else None
        rows = files(plan, folder, args.minilm, args.reviews, args.model, args.seconds)
        svg = Path(args.record).with_suffix(".svg") if args.record else folder / "frontier.svg"
        svg.write_text(picture(rows), encoding="utf-8")
        finish(args, told(plan, rows, {}, time.time() - start, training=trained), shown(rows))


if __name__ == "__main__":
    main()
