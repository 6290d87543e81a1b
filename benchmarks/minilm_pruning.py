"""MiniLM fine-tuned on film reviews, then pruned: 4×1 blocks at 80 and 90 %, and half of its heads and neurons removed.

``dense`` is MiniLM-L6 fine-tuned as the task says. The other arms start from it and learn from it: ``blocks80`` and
``blocks90`` lose 4×1 blocks of their weights gradually, in training; ``half`` loses half of its heads and of its
feed-forward neurons, for real, and is fine-tuned. The student matches the teacher's softened answers and states, on
texts of which a share of the word pieces is swapped for others, so that it learns from more than it can remember. Each
arm has settings of its own; ``--tune`` tries them on another seed and takes the best on the select split. The report
split is read by the reported cells alone.

    python benchmarks/minilm_pruning.py --quick --json               # two cores, minutes: a small MiniLM, few reviews
    python benchmarks/minilm_pruning.py --prune-epochs 30 --batch-size 128 --tune 1 --jobs 12 \\
        --record benchmarks/results/minilm_pruning.json
    python benchmarks/minilm_pruning.py --latency --record benchmarks/results/minilm_pruning.json   # on a CPU

``--latency`` times, in turns, files of the dense and of the halved shape (latency depends on shapes, not on values).
The aims: at most 0.75 points lost at 80 % and 1.5 at 90 %; half at most 1.0, and 1.6 times faster in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cells import arguments, execute, finish, table, told, why  # (siblings: the benchmark folder is no package)
from intervals import mean_interval
from scored import scored
from trials import TUNING, Cell, best
from values import keep

SETTINGS = {
    "dense": ("plain",),
    "blocks80": (
        "magnitude+global_+4e-4+all+0.15",
        "magnitude+global_+2e-4+all+0.15",
    ),
    "blocks90": (
        "magnitude+global_+4e-4+last+0.15",
        "magnitude+global_+4e-4+all+0.15",
        "magnitude+global_+4e-4+all+0",
        "magnitude+global_+1e-3+all+0.15",
        "magnitude+uniform+4e-4+all+0.15",
        "magnitude+global_+2e-4+all+0.15",
    ),
    "half": ("taylor+uniform+1e-4+last+0", "taylor+uniform+2e-4+last+0"),
}
"""Of each arm, the first where nothing is tuned, which is what ``results/minilm_blocks_tuning.json`` chose: score,
distribution, learning rate, whose states are matched (of the last layer or of all), the share of word pieces that are
swapped."""

LIMITS = {"blocks80": 0.75, "blocks90": 1.5, "half": 1.0}
LEAST_FASTER = 1.6


@dataclass(frozen=True)
class Plan:
    """What all cells share."""

    epochs: int
    prune_epochs: int
    batch_size: int
    temperature: float
    length: int
    small: bool
    reviews: str
    model: str
    out: str


@dataclass(frozen=True)
class imitated:
    """``CE + T²·CE(softened teacher, softened student) + mean over layers of mean((h_s − h_t)²)`` over texts' tokens.

    The states h come behind a layer normalisation, so they are of one size; of the ``last`` layer or of ``all``. A
    share ``swapped`` of the word pieces, none of those that mark the ends, is exchanged for one that stands at a random
    place of the batch, for teacher and student alike. Source: Hinton et al. 2015, arXiv 1503.02531; Jiao et al. 2020,
    arXiv 1909.10351, eq. 8, with no map between states of one width, and section 3.3 on exchanging words.
    """

    temperature: float = 2.0
    layers: str = "last"
    swapped: float = 0.0

    def __call__(self, forward: Any, batch: Any, context: Any) -> Any:
        import torch
        from torch.nn import functional as F

        from flyweight.learn.distill.distilled import soft_cross_entropy

        teacher, inputs, labels = context.task.teacher, context.task.inputs(batch), context.task.targets(batch)[0]
        inputs = (self.swap(*inputs), *inputs[1:])
        heard: list[list[Any]] = [[], []]
        hooks = [
            layer.register_forward_hook(lambda m, i, o, side=side: side.append(o[0] if isinstance(o, tuple) else o))
            for side, model in zip(heard, (teacher, context.model), strict=True)
            for layer in model.bert.encoder.layer[0 if self.layers == "all" else -1 :]
        ]
        try:
            with torch.no_grad(), context.autocast():
                taught = teacher.eval()(*inputs)
            output = forward(*inputs)
        finally:
            for hook in hooks:
                hook.remove()
        loss = F.cross_entropy(output, labels)
        loss = loss + soft_cross_entropy(output, taught.float().unsqueeze(1), self.temperature)
        real = inputs[1].unsqueeze(-1).float()
        for theirs, ours in zip(*heard, strict=True):
            gap = ((ours.float() - theirs.float()) ** 2 * real).sum() / (real.sum() * ours.shape[-1])
            loss = loss + gap / len(heard[0])
        return loss

    def swap(self, ids: Any, mask: Any) -> Any:
        """``ids`` with a share of its word pieces exchanged."""
        import torch

        if not self.swapped:
            return ids
        inner = mask.bool() & (ids != ids[:, :1])  # the first piece marks the start of every text
        inner &= torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], 1).bool()  # the last one its end
        pool = ids[inner]
        if not len(pool):
            return ids
        other = pool[torch.randint(len(pool), ids.shape, device=ids.device)]
        return torch.where(inner & (torch.rand(ids.shape, device=ids.device) < self.swapped), other, ids)


def prepared(plan: Plan) -> Any:
    """The task; small: a MiniLM of two thin layers, a few reviews, for a look on two cores."""
    import torch

    from flyweight.models.minilm import minilm
    from flyweight.tasks.movie_reviews import movie_reviews

    task = movie_reviews(plan.length, plan.epochs, plan.reviews or None, plan.model or None)
    if plan.small:
        torch.manual_seed(0)
        data = {
            f.name: torch.utils.data.TensorDataset(*(t[:512] for t in getattr(task.data, f.name).tensors))
            for f in dataclasses.fields(task.data)
        }
        task = replace(task, model=minilm(layers=2, hidden=48, heads=4), data=type(task.data)(**data))
    return task


def recipe(plan: Plan, cell: Cell, task: Any) -> tuple[Any, ...]:
    """The steps of ``cell``."""
    from flyweight import Prune, Train, adam
    from flyweight.compress.prune.remove import Remove
    from flyweight.compress.prune.schedules.cubic import cubic
    from flyweight.compress.prune.structures.block import block
    from flyweight.compress.prune.structures.channel import channel
    from flyweight.compress.prune.structures.head import head

    dense = (replace(task.train, epochs=plan.epochs, seed=cell.seed),)
    if cell.arm == "dense":
        return dense
    score, shared, rate, layers, swapped = cell.setting.split("+")
    optimizer = adam(lr=float(rate), weight_decay=0.01, warmup=0.05, clip=1.0)
    loss = imitated(plan.temperature, layers, float(swapped))
    train = Train(plan.prune_epochs, optimizer, loss, (), plan.batch_size, cell.seed)
    if cell.arm == "half":
        cuts = [
            Prune(0.5, named("scores", score), kind, named("distributions", shared)) for kind in (head(), channel())
        ]
        return (*dense, *cuts, Remove(), train)
    ratio = int(cell.arm.removeprefix("blocks")) / 100
    schedule = cubic(begin=0.02, end=0.6)
    prune = Prune(ratio, named("scores", score), block(4, 1), named("distributions", shared), schedule, ("head",))
    return (*dense, prune, train)


def named(room: str, name: str) -> Any:
    """The plug of that name, at its defaults."""
    from flyweight.core.serial import find

    return find(f"flyweight.compress.prune.{room}.{name}.{name}")()


def work(plan: Plan, cell: Cell) -> list[dict[str, Any]]:
    """Trains one cell and scores it; the file is compared with the model."""

    from flyweight import Store, run
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.parity import check_parity
    from flyweight.surgery.mask import Mask

    start, task = time.time(), prepared(plan)
    steps, store = recipe(plan, cell, task), Store(Path(plan.out) / "store")
    if cell.arm == "dense":
        model = run(steps, task.model, task, store)
    else:
        teacher = run(steps[:1], task.model, task, store).eval()
        # The dense network is the teacher, so it is the model that the rest of the recipe begins with.
        learnt = replace(task, model=teacher, teacher=teacher.requires_grad_(False))
        model = run(steps[1:], teacher.requires_grad_(True), learnt, store)
    trained = time.time()
    masks = [module.keep for module in model.modules() if isinstance(module, Mask) and module.keep.dim() > 1]
    splits = ("select", "report") if cell.reported else ("select",)
    row = {**asdict(cell), **scored(model, task, splits, 256), "train_s": round(trained - start, 1)}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    row["zeros"] = 1 - sum(int(k.sum()) for k in masks) / sum(k.numel() for k in masks) if masks else 0.0
    if cell.reported:
        artifact = export_onnx(model.cpu(), task, Path(plan.out) / "models" / f"{cell.arm}-s{cell.seed}.onnx")
        keep(model, Path(plan.out) / "values" / f"minilm-{cell.arm}-s{cell.seed}.safetensors")
        row |= {"size_bytes": artifact.path.stat().st_size, "parity": check_parity(model, artifact, task)["top1_equal"]}
    return [row]


def main() -> None:
    """Reads the command line, runs the cells or the timing, prints the table or one JSON object."""
    parser = arguments(__doc__, "run/minilm-pruning")
    parser.add_argument("--arms", default=",".join(SETTINGS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--prune-epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--temperature", type=float, default=2.0)
    parser.add_argument("--length", type=int, default=128, help="word pieces a text")
    parser.add_argument("--reviews", default="", help="the CSV file, where the package is not installed")
    parser.add_argument("--model", default="", help="MiniLM's folder, where the package is not installed")
    parser.add_argument("--tune", type=int, default=0, help="seeds for choosing each arm's setting on select; 0: none")
    parser.add_argument("--latency", action="store_true", help="only time files of the arms' shapes, on this CPU")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.epochs, args.prune_epochs, args.length = 1, 1, 2, 32
        args.out = f"{args.out}-quick"
    plan = Plan(
        epochs=args.epochs, prune_epochs=args.prune_epochs, batch_size=args.batch_size, temperature=args.temperature,
        length=args.length, small=args.quick, reviews=args.reviews, model=args.model, out=args.out,
    )  # fmt: skip
    if args.latency:
        if not args.record or not Path(args.record).exists():
            parser.error("--latency needs --record, the JSON of the run that it completes")
        found = json.loads(Path(args.record).read_text()) | {"latency": timed()}
    else:
        found = measure(args, plan)
        if args.quick:
            found["latency"] = timed(layers=2, seconds=0.5)
    finish(args, found, text(found))


def measure(args: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """Runs what is to be run: dense networks first, for the others begin with them."""
    start, arms = time.time(), args.arms.split(",")
    left = [args.minutes]

    def made(cells: list[Cell]) -> tuple[list[dict[str, Any]], dict[str, str]]:
        rows, missing = execute(work, plan, cells, plan.out, args.jobs, left[0])
        left[0] = args.minutes - (time.time() - start) / 60
        return rows, missing

    dense = [Cell("dense", "plain", seed, True) for seed in range(args.seeds)]
    dense += [Cell("dense", "plain", TUNING + n, False) for n in range(args.tune)]
    rows, missing = made(dense)
    trials = [Cell(a, s, TUNING + n, False) for a in arms for s in SETTINGS[a] for n in range(args.tune)]
    tuned, absent = made([cell for cell in trials if len(SETTINGS[cell.arm]) > 1])
    chosen = {arm: best(arm, SETTINGS[arm], tuned) for arm in arms}
    more, unrun = made([Cell(a, chosen[a], s, True) for a in arms if a != "dense" for s in range(args.seeds)])
    rows = sorted(
        (r for r in (*rows, *more) if r["reported"]), key=lambda r: (list(SETTINGS).index(r["arm"]), r["seed"])
    )
    return told(
        replace(plan, reviews="", model=""), rows, missing | absent | unrun, time.time() - start,
        chosen=chosen, tuning=tuned, lost=lost(rows),
    )  # fmt: skip


def lost(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Points lost on report against the dense network of the same seed, with Student's interval, and the limit."""
    by = {(r["arm"], r["seed"]): r for r in rows}
    found = {}
    for arm, limit in LIMITS.items():
        gaps = [100 * (by["dense", s]["report"] - r["report"]) for (a, s), r in by.items() if a == arm]
        if gaps:
            mean, wide = mean_interval(gaps)
            found[arm] = {"points": mean, "pm": wide, "limit": limit, "kept": mean <= limit, "seeds": len(gaps)}
    return found


def timed(layers: int = 6, seconds: float = 4.0) -> dict[str, Any]:
    """Milliseconds of the dense and of the halved shape, at batch 1 on one thread, timed in turns."""
    import torch

    from flyweight import Prune
    from flyweight.compress.prune.remove import Remove
    from flyweight.compress.prune.scores.random import random
    from flyweight.compress.prune.structures.channel import channel
    from flyweight.compress.prune.structures.head import head
    from flyweight.core.task import Splits, Task
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.runtimes.open import runtime_name
    from flyweight.measure.footprint import footprints
    from flyweight.measure.host import host
    from flyweight.models.minilm import minilm
    from flyweight.tasks.accuracy import accuracy
    from flyweight.tasks.cross_entropy import cross_entropy

    torch.manual_seed(0)
    ids, mask, labels = torch.randint(0, 30522, (4, 128)), torch.ones(4, 128, dtype=torch.long), torch.zeros(4).long()
    data = torch.utils.data.TensorDataset(ids, mask, labels)
    task = Task(
        name="shapes", model=minilm(layers=layers), example=(ids[:2], mask[:2]),
        data=Splits(train=data, calibrate=data, select=data, report=data),
        loss=cross_entropy, quality=accuracy,
    )  # fmt: skip
    half = task.model
    for step in (Prune(0.5, random(), head()), Prune(0.5, random(), channel()), Remove()):
        half = step(half, task)
    with tempfile.TemporaryDirectory() as folder:
        files = [
            export_onnx(m, task, Path(folder) / f"{n}.onnx").path for n, m in (("dense", task.model), ("half", half))
        ]
        sheets = footprints(
            files, runtime=runtime_name("onnxruntime"), baseline=files[0], threads=1, seconds=seconds, upto="latency"
        )
    dense, halved = sheets
    return {
        "tokens": 128,
        "dense_ms": dense.latency_ms,
        "half_ms": halved.latency_ms,
        "half_times_faster": halved.speedup,
        "half_macs_share": halved.macs / dense.macs if dense.macs and halved.macs else None,
        "kept": (halved.speedup or 0) >= LEAST_FASTER,
        "host": host(),
    }


def text(found: dict[str, Any]) -> str:
    """The table and the figures."""
    lines = []
    for arm, setting in {"dense": "plain", **found["chosen"]}.items():
        rows = [row for row in found["rows"] if row["arm"] == arm]
        if rows:
            mean, wide = mean_interval([100 * r["report"] for r in rows])
            gone = found["lost"].get(arm, {})
            lines.append(
                [
                    arm, setting, len(rows), rows[0]["parameters"], f"{statistics.fmean(r['zeros'] for r in rows):.3f}",
                    f"{mean:.2f}", "–" if wide is None else f"± {wide:.2f}",
                    f"{gone['points']:+.2f} (limit {gone['limit']})" if gone else "–",
                    round(statistics.fmean(r["size_bytes"] for r in rows)),
                ]
            )  # fmt: skip
    head_ = ("arm", "setting", "seeds", "parameters", "zeros", "report %", "95 %", "points lost", "bytes")
    out = [table(head_, lines)]
    if "latency" in found:
        out += ["", ", ".join(f"{k} {v}" for k, v in found["latency"].items() if k != "host")]
    if found["missing"]:
        out += ["", why(found["missing"])]
    return "\n".join(out)


if __name__ == "__main__":
    main()
