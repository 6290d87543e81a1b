"""The survey's own experiment on Fashion-MNIST: Shrink-and-Improve, and Grow-Improve-and-Shrink.

Every width, with and without augmentation, with and without distillation, float and int8, over seeds and under one
schedule. Choices are made on the select split; the report split gives the figures. Rows are kept as they come, so a
killed run goes on where it stood:

    python benchmarks/shrink_and_improve.py --quick --json          # two cores, minutes, fashion-mini
    python benchmarks/shrink_and_improve.py --out run/shrink --workers 12 --epochs 60
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from built import built
from cells import Rows, arguments, each, told  # (siblings: the benchmark folder is no package)
from scored import scored
from shrink_and_improve_table import summarise

ARMS = ("plain", "distilled", "augmented", "augmented+distilled")
TRIED = ((4.0, 1.0), (4.0, 0.25), (2.0, 1.0), (8.0, 0.25))
"""(temperature, weight of the labels) that ``--tune`` tries at the greatest width, to choose on select."""


@dataclass(frozen=True)
class Job:
    """One cell: a network of one width, arm and seed; its float and int8 files are measured together.

    The arm ``"teacher"`` trains the teacher of that seed, and yields a row without a file. Distilled ones learn at
    ``temperature``, with the weight ``hard`` on the labels' loss.
    """

    width: float
    arm: str
    seed: int
    temperature: float
    hard: float

    @property
    def name(self) -> str:
        """How it was taught is a part of it."""
        taught = f"-T{self.temperature:g}-h{self.hard:g}" if "distilled" in self.arm else ""
        return f"w{self.width:g}-{self.arm}-s{self.seed}{taught}"


@dataclass(frozen=True)
class Plan:
    """What all cells share: the task, the one schedule, and the teachers.

    ``grow`` is the teachers' width: of the survey's own network, or, where ``depth`` is given, k of a WRN-depth-k.
    With ``views`` above 0, augmented students learn from that many augmented copies of the training set, made once, so
    that the teachers are asked once; epochs count passes over the set itself, whatever the copies.
    """

    task: str
    epochs: int
    tune_epochs: int
    batch_size: int
    lr: float
    grow: float
    teachers: int
    decay: float
    out: str
    depth: int = 0
    teacher_epochs: int = 0
    views: int = 0

    @property
    def rows(self) -> Path:
        """Beside the store, which wants its folder to itself; named by the plan: rows of another are not taken."""
        named = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:8]
        return Path(f"{self.out}-rows-{named}")

    def recipe(self, job: Job, task: Any) -> tuple[Any, ...]:
        """The float recipe of ``job``."""
        from flyweight import Resize

        return (Resize(job.width, seed=job.seed), self.train(job, task, self.epochs, self.lr))

    def train(self, job: Job, task: Any, epochs: int, lr: float) -> Any:
        """The training of ``job``'s arm: the same schedule for every arm."""
        from flyweight import distilled

        train = self.plain(job.width, job.seed, task, epochs, lr)
        if "augmented" not in job.arm:
            train = replace(train, augment=())
        if "distilled" not in job.arm:
            return train
        if self.views and train.augment:
            train = replace(train, augment=(), epochs=max(1, round(epochs / self.views)))
        return replace(train, loss=distilled(temperature=job.temperature, hard=job.hard))

    def teacher(self, seed: int, task: Any) -> tuple[Any, ...]:
        """One teacher, always augmented."""
        from flyweight import Resize, sgd
        from flyweight.learn.augment.erase import erase
        from flyweight.models.wide_resnet import wide_resnet

        train = self.plain(self.grow, seed, task, self.teacher_epochs or self.epochs, self.lr)
        if not self.depth:
            return (Resize(self.grow, seed=seed), train)
        optimizer = sgd(lr=0.1, weight_decay=5e-4, warmup=0.02)
        train = replace(train, optimizer=optimizer, augment=(*task.augment, erase()))
        return (built(wide_resnet, task, seed, depth=self.depth, widen=self.grow), train)

    def plain(self, width: float, seed: int, task: Any, epochs: int, lr: float) -> Any:
        """The one schedule, with the survey's augmentation: random erasing for the largest networks alone."""
        from flyweight import Train, adam
        from flyweight.learn.augment.erase import erase

        optimizer = adam(lr=lr, weight_decay=self.decay)
        augment = tuple(a for a in task.augment if width >= 1 or not isinstance(a, erase))
        return Train(epochs, optimizer, None, augment, self.batch_size, seed)

    def quantized(self, job: Job, task: Any) -> tuple[Any, ...]:
        """The int8 recipe of ``job``: the float one, then quantization-aware training with the arm's own loss."""
        from flyweight import Aware, Quantize

        tune = self.train(job, task, self.tune_epochs, self.lr / 10)
        return (*self.recipe(job, task), Quantize(bits=8, aware=Aware()), tune)

    def prepared(self, job: Job, task: Any, store: Any) -> Any:
        """The task that ``job`` learns: with its teachers, and its views of the data."""
        from flyweight import run
        from flyweight.core.recipe import Ensemble

        if "distilled" not in job.arm:
            return task
        taught = [run(self.teacher(seed, task), task.model, task, store).eval() for seed in range(self.teachers)]
        teacher = Ensemble(taught).requires_grad_(False)
        if self.views and "augmented" in job.arm:
            task = seen(self, task, job.width >= 1)
        return replace(task, teacher=teacher)


def seen(plan: Plan, task: Any, erased: bool) -> Any:
    """``task`` with ``plan.views`` augmented copies of its training set in the place of it, made once for all cells."""
    import fcntl

    from torch.utils.data import TensorDataset

    from flyweight.core.weights import load_state, save_state

    named = hashlib.sha256(repr((task.name, plan.views, task.augment, erased)).encode()).hexdigest()[:8]
    path = Path(f"{plan.out}-views") / f"{named}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            save_state(_views(plan, task, erased), path)
    state = load_state(path)
    return replace(task, data=replace(task.data, train=TensorDataset(state["inputs"], state["labels"])))


def _views(plan: Plan, task: Any, erased: bool) -> dict[str, Any]:
    import torch

    from flyweight.learn.augment.erase import erase

    device = "cuda" if torch.cuda.is_available() else "cpu"
    inputs, labels = task.data.train.tensors
    augment = tuple(a for a in task.augment if erased or not isinstance(a, erase))
    torch.manual_seed(0)
    copies = []
    for _ in range(plan.views):
        for start in range(0, len(inputs), 5000):
            changed = inputs[start : start + 5000].to(device)
            for one in augment:
                changed = one(changed)
            copies.append(changed.cpu())
    return {"inputs": torch.cat(copies), "labels": labels.repeat(plan.views)}


def work(plan: Plan, job: Job) -> Rows:
    """The rows of one cell: float and int8."""
    from flyweight import Store, load_task, run
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.parity import check_parity
    from flyweight.deploy.runtimes.open import open_artifact
    from flyweight.deploy.score import score

    task, store = load_task(plan.task), Store(plan.out)
    named = {"width": job.width, "arm": job.arm, "seed": job.seed}
    if job.arm == "teacher":
        start = time.time()
        model = run(plan.teacher(job.seed, task), task.model, task, store).eval()
        return [{**named, **scored(model, task, ("select",), 256), "train_s": round(time.time() - start, 1)}]
    learnt = plan.prepared(job, task, store)
    rows = []
    for bits, recipe in ((32, plan.recipe(job, task)), (8, plan.quantized(job, task))):
        start = time.time()
        model = run(recipe, task.model, learnt, store)
        trained = time.time()
        artifact = export_onnx(model, task, Path(plan.out) / "models" / f"{job.name}-{bits}.onnx")
        parity = check_parity(model, artifact, task)
        session = open_artifact(artifact.path)
        rows.append(
            {
                **named,
                "bits": bits,
                "size_bytes": artifact.path.stat().st_size,
                "select": score(session, task, "select").value,
                "report": score(session, task, "report").value,
                "top1_equal": parity.get("top1_equal"),
                "train_s": round(trained - start, 1),
                "deploy_s": round(time.time() - trained, 1),
            }
        )
    return rows


def main() -> None:
    """Reads the command line, runs the cells, prints the tables or one JSON object."""
    parser = arguments(__doc__, "run/shrink-and-improve")
    parser.add_argument("--from", dest="source", help="make the tables again from a recorded JSON; nothing is run")
    parser.add_argument("--task", default="fashion")
    parser.add_argument("--widths", default="0.1,0.25,0.5,1.0,1.4")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--tune-epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--grow", type=float, default=1.4, help="width of the teachers")
    parser.add_argument("--teachers", type=int, default=1, help="how many teachers are averaged")
    parser.add_argument("--depth", type=int, default=0, help="teachers are WRN-depth-grow, not the survey's network")
    parser.add_argument("--teacher-epochs", type=int, default=0, help="the teachers' epochs; 0: the students'")
    parser.add_argument("--views", type=int, default=0, help="augmented copies that students learn from; 0: ever new")
    parser.add_argument("--tune", action="store_true", help="choose temperature and labels' weight, on select")
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--hard", type=float, default=1.0, help="the weight of the labels' loss in distillation")
    parser.add_argument("--decay", type=float, default=0.2, help="decoupled weight decay")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--workers", type=int, default=1, dest="jobs", help="the same as --jobs")
    args = parser.parse_args()
    if args.source:
        result = json.loads(Path(args.source).read_text())
    else:
        result = _measure(args)
    summary = summarise(result)
    if args.record:
        path = Path(args.record)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
        path.with_suffix(".md").write_text(summary["text"] + "\n")
        path.with_suffix(".svg").write_text(summary["svg"])
    if args.json:
        print(json.dumps({**result, "ratios": summary["ratios"]}))
    else:
        print(summary["text"])


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    if args.quick:
        args.task, args.widths, args.seeds, args.epochs, args.tune_epochs = "fashion-mini", "0.25,1.0", 1, 3, 1
        args.batch_size, args.out = 128, f"{args.out}-quick"
    plan = Plan(
        task=args.task, epochs=args.epochs, tune_epochs=args.tune_epochs, batch_size=args.batch_size, lr=args.lr,
        grow=args.grow, teachers=args.teachers, decay=args.decay, out=args.out, depth=args.depth,
        teacher_epochs=args.teacher_epochs, views=args.views,
    )  # fmt: skip
    widths, arms = [float(w) for w in args.widths.split(",")], args.arms.split(",")
    jobs = [Job(w, a, s, args.temperature, args.hard) for w in widths for a in arms for s in range(args.seeds)]
    # Slow ones first, so that the end is not one long job; teachers before all, for students wait for them.
    jobs.sort(key=lambda j: ("augmented" not in j.arm, -j.width))
    taught = [job for job in jobs if "distilled" in job.arm]
    alone = [job for job in jobs if "distilled" not in job.arm]
    start = time.time()
    missing: dict[str, str] = {}

    def made(cells: list[Job]) -> dict[str, Rows]:
        found, unrun = each(work, plan, cells, plan.rows, args.jobs, args.minutes - (time.time() - start) / 60)
        missing.update(unrun)
        return found

    teachers = [Job(plan.grow, "teacher", seed, args.temperature, args.hard) for seed in range(plan.teachers)]
    teachers_rows = made(teachers if taught or args.tune else [])
    tries = [Job(max(widths), "augmented+distilled", 0, t, h) for t, h in TRIED] if args.tune else []
    found = made([*tries, *alone])
    tried = [(job, row) for job in tries for row in found.get(job.name, ())]
    best = max(tried, key=lambda pair: (pair[1]["bits"] == 8, pair[1]["select"]), default=None)
    how = {"temperature": best[0].temperature, "hard": best[0].hard} if best else {}
    taught = [replace(job, **how) for job in taught]
    found |= made(taught)
    rows = [row for job in (*alone, *taught) for row in found.get(job.name, ())]
    rows.sort(key=lambda r: (r["width"], r["arm"], r["bits"], r["seed"]))
    result = told(
        plan, rows, missing, time.time() - start,
        teachers=[row for some in teachers_rows.values() for row in some],
        tuned_on_select=[
            {"temperature": j.temperature, "hard": j.hard, "bits": r["bits"], "select": r["select"]} for j, r in tried
        ],
        median_train_s=round(statistics.median([r["train_s"] for r in rows]), 1) if rows else None,
    )  # fmt: skip
    result["plan"] |= {"temperature": args.temperature, "hard": args.hard, **how}
    return result


if __name__ == "__main__":
    main()
