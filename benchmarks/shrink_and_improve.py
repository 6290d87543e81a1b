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
import multiprocessing
import os
import statistics
import sys
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from shrink_and_improve_table import summarise  # (a sibling: the benchmark folder is no package)

ARMS = ("plain", "distilled", "augmented", "augmented+distilled")


@dataclass(frozen=True)
class Job:
    """One cell: a network of one width, arm and seed; its float and int8 files are measured together."""

    width: float
    arm: str
    seed: int

    @property
    def name(self) -> str:
        return f"w{self.width:g}-{self.arm}-s{self.seed}"


@dataclass(frozen=True)
class Plan:
    """What all cells share: the task, the one schedule, and the teacher."""

    task: str
    epochs: int
    tune_epochs: int
    batch_size: int
    lr: float
    grow: float
    teachers: int
    temperature: float
    decay: float
    out: str

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
        teachers = tuple(self.teacher(seed, task) for seed in range(self.teachers))
        return replace(train, loss=distilled(temperature=self.temperature, teachers=teachers))

    def teacher(self, seed: int, task: Any) -> tuple[Any, ...]:
        """One teacher: the grown network, augmented; the cell of that width and seed, where the grid has it."""
        from flyweight import Resize

        return (Resize(self.grow, seed=seed), self.plain(self.grow, seed, task, self.epochs, self.lr))

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


def cell(plan: Plan, job: Job) -> list[dict[str, Any]]:
    """The rows of one cell: float and int8."""
    from flyweight import Store, load_task, run
    from flyweight.deploy.export.onnx import export_onnx
    from flyweight.deploy.parity import check_parity
    from flyweight.deploy.runtimes.open import open_artifact
    from flyweight.deploy.score import score

    task, store = load_task(plan.task), Store(plan.out)
    rows = []
    for bits, recipe in ((32, plan.recipe(job, task)), (8, plan.quantized(job, task))):
        start = time.time()
        model = run(recipe, task.model, task, store)
        trained = time.time()
        artifact = export_onnx(model, task, Path(plan.out) / "models" / f"{job.name}-{bits}.onnx")
        parity = check_parity(model, artifact, task)
        session = open_artifact(artifact.path)
        rows.append(
            {
                **asdict(job),
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


def _start(counter: Any, gpus: int) -> None:
    with counter.get_lock():
        index = counter.value
        counter.value += 1
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(index % gpus)
    os.environ.setdefault("NO_PROGRESS", "1")
    import torch

    torch.set_num_threads(1 if gpus else (os.cpu_count() or 1))


def _work(given: tuple[Plan, Job]) -> tuple[Job, list[dict[str, Any]], str | None]:
    plan, job = given
    try:
        return job, cell(plan, job), None
    except Exception as error:
        return job, [], f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=4)}"


def execute(plan: Plan, jobs: list[Job], workers: int, deadline: float) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of every job, kept ones read back; and what could not be run, with the reason."""
    from flyweight.core.atomic import read_json, write_json

    # Beside the store, which wants its folder to itself; named by the plan, so that rows of another are not taken.
    named = hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode()).hexdigest()[:8]
    folder = Path(f"{plan.out}-rows-{named}")
    kept = {job: folder / f"{job.name}.json" for job in jobs}
    rows: list[dict[str, Any]] = [r for path in kept.values() if path.exists() for r in read_json(path)]
    todo = [job for job in jobs if not kept[job].exists()]
    missing = {job.name: "not started: out of time" for job in todo}
    counter = multiprocessing.get_context("spawn").Value("i", 0)
    gpus = _gpus()
    with multiprocessing.get_context("spawn").Pool(workers, _start, (counter, gpus)) as pool:
        results = pool.imap_unordered(_work, [(plan, job) for job in todo])
        for _ in todo:
            try:
                job, found, failure = results.next(timeout=max(1.0, deadline - time.time()))
            except multiprocessing.TimeoutError:
                pool.terminate()
                break
            if failure is None:
                write_json(kept[job], found)
                rows += found
                del missing[job.name]
            else:
                missing[job.name] = failure
            told = failure or ", ".join(f"{r['bits']}b {100 * r['report']:.2f}% {r['size_bytes']} B" for r in found)
            print(f"[{time.strftime('%H:%M:%S')}] {job.name}: {told}", file=sys.stderr, flush=True)
    return rows, missing


def _gpus() -> int:
    try:
        import pynvml

        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except Exception:
        return 0


def main() -> None:
    """Reads the command line, runs the cells, prints the tables or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fashion-mini, two widths, one seed, few epochs")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--out", default="run/shrink-and-improve", help="where results are kept")
    parser.add_argument("--record", help="write the JSON, the table and the picture under this path without ending")
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
    parser.add_argument("--temperature", type=float, default=4.0)
    parser.add_argument("--decay", type=float, default=0.2, help="decoupled weight decay")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop after this long; what is done is kept")
    args = parser.parse_args()
    if args.source:
        result = json.loads(Path(args.source).read_text())
    else:
        result = _measure(args)
    summary = summarise(result)
    if args.record:
        Path(args.record).parent.mkdir(parents=True, exist_ok=True)
        Path(f"{args.record}.json").write_text(json.dumps(result, indent=1) + "\n")
        Path(f"{args.record}.md").write_text(summary["text"] + "\n")
        Path(f"{args.record}.svg").write_text(summary["svg"])
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
        grow=args.grow, teachers=args.teachers, temperature=args.temperature, decay=args.decay, out=args.out,
    )  # fmt: skip
    widths, arms = [float(w) for w in args.widths.split(",")], args.arms.split(",")
    jobs = [Job(w, a, s) for w in widths for a in arms for s in range(args.seeds)]
    # Teachers first, for others wait for them; then the slow ones, so that the end is not one long job.
    jobs.sort(key=lambda j: (not (j.width == args.grow and j.arm == "augmented"), "distilled" in j.arm, -j.width))
    start = time.time()
    rows, missing = execute(plan, jobs, args.workers, start + 60 * args.minutes)
    from flyweight.measure.host import host

    return {
        "plan": asdict(plan) | {"out": ""},
        "rows": sorted(rows, key=lambda r: (r["width"], r["arm"], r["bits"], r["seed"])),
        "missing": missing,
        "seconds": round(time.time() - start),
        "median_train_s": round(statistics.median([r["train_s"] for r in rows]), 1) if rows else None,
        "host": {**host(), "gpu": _gpu_names()},
    }


def _gpu_names() -> str | None:
    if not _gpus():
        return None
    import pynvml

    names = [pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(_gpus())]
    return ", ".join(f"{names.count(name)} × {name}" for name in sorted(set(names)))


if __name__ == "__main__":
    main()
