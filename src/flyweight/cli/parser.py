"""The commands and their options."""

from __future__ import annotations

from typing import Any, Literal

import flyweight

_METER = "module:function of your own that returns the joules used so far, where no counter is known"


_TASK = "fashion-mini, fashion, cifar10, movie-reviews, or path/to/file.py:attribute"
_KERNELS = "auto: layers of many zeros run on the sparse kernels where that is faster here; none: plain files alone"
_STRATEGY = "survey: widths and distillation; free: Optuna; prune: by --ratios, or to the budgets where given"
_STRUCTURE = (
    "what --strategy prune takes away: channels, which leave the model; or blocks (4×1 in float, 4×4 in int8), whose "
    "zeros the sparse kernels skip; or single weights, whose zeros they skip in float"
)
_RATIOS = (
    "fractions that --strategy prune tries, as in [0.3,0.5]; where no budget is 0.3, 0.5, 0.7, 0.85 of the channels, "
    "0.5, 0.7, 0.8, 0.9 of blocks and weights"
)

_HELP = {
    "optimize": ("make smaller, faster and better models of a task", "Makes the frontier of a task and prints it."),
    "measure": (
        "measure model files: bytes, latency, memory",
        "Measures files interleaved, and prints a row for each.",
    ),
    "report": (
        "make a run's report anew and print its table",
        "Makes the report anew from the points' JSON, and prints the table.",
    ),
    "predict": ("run a model file on numpy arrays", "Runs a deployed model on arrays, without torch."),
    "doctor": (
        "tell versions, counters, runtimes and what is missing",
        "Tells what is installed, what the machine can count, and what is missing with the line that mends it.",
    ),
}


def parser() -> Any:
    """The reader of the command line; the command that was chosen stands in ``command``."""
    from jsonargparse import ArgumentParser

    def sub(name: str) -> Any:
        made = ArgumentParser(description=_HELP[name][1], allow_abbrev=False)
        made.add_argument("--debug", action="store_true", help="show the traceback of an error")
        made.add_argument("--json", action="store_true", help="print JSON on stdout")
        return made

    whole = ArgumentParser(
        prog="flyweight",
        description=flyweight.__doc__.splitlines()[0],
        version=flyweight.__version__,
        allow_abbrev=False,
    )
    commands = whole.add_subcommands(required=False, dest="command")
    one = sub("optimize")
    one.add_argument("task", type=str, help=_TASK)
    one.add_argument("--out", type=str, default="run", help="the folder that keeps everything")
    one.add_argument("--max-drop", type=float | None, default=None, help="quality that may be lost, as in .01")
    one.add_argument("--budget", type=list[str], default=[], help='as in "size_bytes<=200_000"; may be given again')
    one.add_argument("--timeout", type=str | None, default=None, help="stop after this long: 20m, 1h30m, or seconds")
    one.add_argument("--strategy", type=Literal["survey", "free", "prune"], default="survey", help=_STRATEGY)
    structures = Literal["channels", "blocks", "weights"]
    one.add_argument("--structure", type=structures | None, default=None, help=_STRUCTURE)
    one.add_argument("--ratios", type=list[float] | None, default=None, help=_RATIOS)
    one.add_argument("--trials", type=int, default=40, help="trials of the free search")
    one.add_argument("--sampler", type=Literal["tpe", "nsga2", "random"], default="tpe", help="of the free search")
    one.add_argument("--workers", type=int, default=1, help="processes of the free search")
    one.add_argument("--seed", type=int, default=0, help="decides all randomness")
    one.add_argument("--threads", type=int, default=1, help="threads of the runtime when it is measured")
    one.add_argument("--runtime", type=str, default="onnxruntime", help="onnxruntime, openvino, or module:function")
    one.add_argument("--meter", type=str | None, default=None, help=_METER)
    one.add_argument("--kernels", type=Literal["auto", "none"], default="auto", help=_KERNELS)
    one.add_argument("--config", action="config", help="a YAML file of these options")
    commands.add_subcommand("optimize", one, help=_HELP["optimize"][1])

    two = sub("measure")
    two.add_argument("files", nargs="+", type=str, help="model files")
    two.add_argument("--baseline", type=str | None, default=None, help="the file that speed is compared with")
    two.add_argument("--threads", type=int, default=1, help="threads of the runtime")
    two.add_argument("--batch", type=int, default=1, help="examples a call")
    two.add_argument("--runtime", type=str, default="onnxruntime", help="onnxruntime, openvino, or module:function")
    two.add_argument("--meter", type=str | None, default=None, help=_METER)
    commands.add_subcommand("measure", two, help=_HELP["measure"][1])

    three = sub("report")
    three.add_argument("folder", type=str, help="the folder that optimize wrote")
    three.add_argument("--out", type=str | None, default=None, help="where to write the HTML; FOLDER/report.html")
    commands.add_subcommand("report", three, help=_HELP["report"][1])

    four = sub("predict")
    four.add_argument("model", type=str, help="a model file")
    four.add_argument("inputs", nargs="+", type=str, help="one .npy file an input; a single example may lack the batch")
    four.add_argument("--top", type=int, default=5, help="how many outputs to print, largest first")
    four.add_argument("--out", type=str | None, default=None, help="write the outputs: .npy, or .npz of several")
    four.add_argument("--threads", type=int, default=1, help="threads of the runtime")
    four.add_argument("--runtime", type=str, default="onnxruntime", help="onnxruntime, openvino, or module:function")
    commands.add_subcommand("predict", four, help=_HELP["predict"][1])

    commands.add_subcommand("doctor", sub("doctor"), help=_HELP["doctor"][1])
    return whole


def repeatable(arguments: list[str]) -> list[str]:
    """``arguments``, with options that may be given again spelt so that each counts."""
    # A list option is replaced when it is given again, unless it is spelt with a plus.
    spelt = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        spelt.append(f"--budget+{equals}{value}" if name == "--budget" else argument)
    return spelt
