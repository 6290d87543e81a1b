"""Sparse training on CIFAR-10: WRN-22-2 with 90 % of its weights gone, five arms, equal epochs, over seeds.

``dense`` keeps all weights; ``static`` has a random mask that stays; ``small-dense`` is a narrower WRN-22 of as many
parameters as the sparse ones keep; ``rigl`` drops and regrows; ``gradual`` prunes by magnitude while it trains (Zhu
and Gupta's cubic), which begins dense. The figure is the share of the gap from static to gradual that RigL closes; the
aim is 77 %, what Evci et al. (2020, arXiv 1911.11134) have for WRN-22-2 on CIFAR-10. Each arm has settings of its own;
``--tune`` tries them on other seeds and takes the best on the select split; without it each arm takes its first, as
the record does: on CIFAR-10 none was tried, on Fashion-MNIST (sparse_training_fashion.json) they were each arm's best.
The report split is read once, by the cells that are reported:

    python benchmarks/sparse_training.py --quick --json                 # two cores, a minute or two, fashion-mini
    python benchmarks/sparse_training.py --jobs 15 --record benchmarks/results/sparse_training.json  # two GPUs, 20 min
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from built import built
from cells import arguments, execute, finish, table, told, why  # (siblings: the benchmark folder is no package)
from intervals import mean_interval, ratio_interval
from scored import scored
from trials import TUNING, Cell, best

SETTINGS = {
    "dense": ("plain",),
    "static": ("erdos_renyi", "uniform"),
    "small-dense": ("plain",),
    "rigl": ("erdos_renyi-0.3-1", "erdos_renyi-0.5-1", "erdos_renyi-0.3-4", "uniform-0.3-1"),
    "gradual": ("uniform-0.75", "erdos_renyi-0.75", "global_-0.75", "uniform-0.5"),
}
"""Of each arm, the first where nothing is tuned. static: distribution; rigl: distribution, fraction, and how many times
``every``; gradual: distribution and end."""


@dataclass(frozen=True)
class Plan:
    """What all cells share."""

    task: str
    depth: int
    widen: float
    ratio: float
    epochs: int
    batch_size: int
    lr: float
    decay: float
    every: int
    device: str
    out: str


def recipe(plan: Plan, cell: Cell, task: Any) -> tuple[Any, ...]:
    """The steps of ``cell``: the same network of that seed, and the same training, in every arm."""
    from flyweight import Prune, Train, sgd
    from flyweight.compress.prune.schedules.cubic import cubic
    from flyweight.models.wide_resnet import wide_resnet

    widen = narrow(plan, task) if cell.arm == "small-dense" else plan.widen
    build = built(wide_resnet, task, cell.seed, depth=plan.depth, widen=widen)
    optimizer = sgd(lr=plan.lr, weight_decay=plan.decay, warmup=0.02)
    train = Train(plan.epochs, optimizer, None, task.augment, plan.batch_size, cell.seed)
    if cell.arm in ("static", "rigl"):
        return build, masked(plan, cell), train
    if cell.arm == "gradual":
        shared, end = cell.setting.split("-")
        return build, Prune(plan.ratio, distribution=spread(shared), schedule=cubic(end=float(end))), train
    return build, train


def masked(plan: Plan, cell: Cell) -> Any:
    """The step of a sparse arm."""
    from flyweight import Regrow
    from flyweight.compress.prune.regrow.rigl import rigl
    from flyweight.compress.prune.regrow.static import static

    shared, *rest = cell.setting.split("-")
    rule: Any = static()
    if cell.arm == "rigl":
        rule = rigl(every=int(rest[1]) * plan.every, fraction=float(rest[0]))
    return Regrow(plan.ratio, rule, spread(shared), seed=cell.seed)


def spread(name: str) -> Any:
    """The distribution of that name."""
    from flyweight.core.serial import find

    return find(f"flyweight.compress.prune.distributions.{name}.{name}")()


def narrow(plan: Plan, task: Any) -> float:
    """The width at which a dense network has the nearest to the number of parameters that the sparse ones keep."""
    from flyweight.models.wide_resnet import wide_resnet

    build = functools.partial(wide_resnet, plan.depth, channels=task.example[0].shape[1])
    wanted = kept(masked(plan, Cell("static", "uniform", 0, False))(build(plan.widen), task))[0]
    # A step of 1/64 in k is one channel in the widest stage: nothing lies between.
    widths = [number / 64 for number in range(1, round(64 * plan.widen) + 1)]
    sizes = {k: sum(p.numel() for p in build(k).parameters()) for k in widths}
    return min(sizes, key=lambda k: abs(sizes[k] - wanted))


def kept(model: Any) -> tuple[int, int, int]:
    """Parameters that are not masked; then those under masks, and how many of these are kept."""
    from flyweight.surgery.mask import Mask

    masks = [module for module in model.modules() if isinstance(module, Mask)]
    under, live = sum(mask.keep.numel() for mask in masks), sum(int(mask.keep.sum()) for mask in masks)
    return sum(p.numel() for p in model.parameters()) - under + live, under, live


def work(plan: Plan, cell: Cell) -> list[dict[str, Any]]:
    """Trains one cell and scores it."""
    from flyweight import Fit, Store, load_task, run
    from flyweight.learn.hardware import chosen_device

    start = time.time()
    task = replace(load_task(plan.task), fit=Fit(device=plan.device))
    model = run(recipe(plan, cell, task), task.model, task, Store(Path(plan.out) / "store"))
    trained = time.time()
    parameters, under, live = kept(model)
    splits = ("select", "report") if cell.reported else ("select",)
    return [
        {
            **asdict(cell),
            "parameters": parameters,
            "masked": under,
            "kept": live,
            **scored(model, task, splits, 1000, plan.device),
            "train_s": round(trained - start, 1),
            "device": chosen_device(plan.device).type,
        }
    ]


def main() -> None:
    """Reads the command line, runs the cells, prints the table or one JSON object."""
    parser = arguments(__doc__, "run/sparse-training")
    parser.add_argument("--task", default="cifar10")
    parser.add_argument("--depth", type=int, default=22)
    parser.add_argument("--widen", type=float, default=2.0)
    parser.add_argument("--ratio", type=float, default=0.9)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--decay", type=float, default=5e-4)
    parser.add_argument("--every", type=int, default=100, help="steps from one of RigL's updates to the next")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--arms", default=",".join(SETTINGS))
    parser.add_argument("--tune", type=int, default=0, help="seeds for choosing each arm's setting on select; 0: none")
    args = parser.parse_args()
    if args.quick:
        args.task, args.depth, args.widen, args.seeds, args.epochs, args.every = "fashion-mini", 10, 0.5, 2, 2, 8
        args.out = f"{args.out}-quick"
    found = measure(args)
    finish(args, found, text(found))


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Runs what is to be run; a killed run goes on with the cells that are missing."""
    start = time.time()
    plan = Plan(
        task=args.task, depth=args.depth, widen=args.widen, ratio=args.ratio, epochs=args.epochs,
        batch_size=args.batch_size, lr=args.lr, decay=args.decay, every=args.every, device=args.device, out=args.out,
    )  # fmt: skip
    arms = args.arms.split(",")
    trials = [Cell(a, s, TUNING + n, False) for a in arms for s in SETTINGS[a] for n in range(args.tune)]
    trials = [cell for cell in trials if len(SETTINGS[cell.arm]) > 1]
    tuned, absent = execute(work, plan, trials, plan.out, args.jobs, args.minutes)
    chosen = {arm: best(arm, SETTINGS[arm], tuned) for arm in arms}
    cells = [Cell(arm, chosen[arm], seed, True) for seed in range(args.seeds) for arm in arms]
    rows, missing = execute(work, plan, cells, plan.out, args.jobs, args.minutes - (time.time() - start) / 60)
    rows.sort(key=lambda row: (arms.index(row["arm"]), row["seed"]))
    seconds = time.time() - start
    return told(plan, rows, absent | missing, seconds, chosen=chosen, tuning=tuned, closed=closed(rows))


def closed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """(rigl − static) / (gradual − static) on report: of the means, and Fieller's 95 % interval over paired seeds."""
    arms = {arm: {row["seed"]: row["report"] for row in rows if row["arm"] == arm} for arm in SETTINGS}
    seeds = sorted(arms["static"].keys() & arms["rigl"].keys() & arms["gradual"].keys())
    won = [arms["rigl"][seed] - arms["static"][seed] for seed in seeds]
    gap = [arms["gradual"][seed] - arms["static"][seed] for seed in seeds]
    if not seeds or not sum(gap) > 0:
        return {"share": None, "interval": None, "seeds": len(seeds), "why": "gradual is not above static"}
    ends = ratio_interval(won, gap)
    told = {"share": sum(won) / sum(gap), "interval": ends, "seeds": len(seeds)}
    return told if ends else {**told, "why": "the gap itself is not told from 0 over these seeds"}


def text(found: dict[str, Any]) -> str:
    """The table and the sentence."""
    lines = []
    for arm, setting in found["chosen"].items():
        rows = [row for row in found["rows"] if row["arm"] == arm]
        if not rows:
            continue
        mean, wide = mean_interval([100 * row["report"] for row in rows])
        select = 100 * statistics.fmean(row["select"] for row in rows)
        share = 1 - rows[0]["kept"] / rows[0]["masked"] if rows[0]["masked"] else 0.0
        within = "–" if wide is None else f"± {wide:.2f}"
        seconds = statistics.median(row["train_s"] for row in rows)
        size = statistics.median_low([row["parameters"] for row in rows])
        lines.append((arm, setting, len(rows), size, f"{share:.4f}", f"{select:.2f}", f"{mean:.2f}", within, seconds))
    head = ("arm", "setting", "seeds", "parameters", "zeros", "select %", "report %", "95 %", "train s")
    plan, gap = found["plan"], found["closed"]
    about = (
        f"WRN-{plan['depth']}-{plan['widen']:g} on {plan['task']}, {plan['epochs']} epochs, "
        f"{plan['ratio']:.0%} of the weights gone; {found['host']['gpu'] or found['host']['cpu']}"
    )
    if gap["share"] is None:
        said = f"RigL's share of the gap from static to gradual is not measured: {gap['why']}."
    else:
        ends = "no two ends: " + gap["why"] if gap["interval"] is None else "{:.0%} to {:.0%}".format(*gap["interval"])
        said = f"RigL closes {gap['share']:.0%} of the gap from static to gradual (95 %: {ends}; {gap['seeds']} seeds)."
    out = [about, "", table(head, lines), "", said]
    if found["missing"]:
        out += ["", why(found["missing"])]
    return "\n".join(out)


if __name__ == "__main__":
    main()
