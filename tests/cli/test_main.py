"""The command line: what it prints, how it ends, and what it does not import."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import arms
import tiny
from flyweight import __version__
from flyweight.cli import main as cli
from flyweight.cli.doctor import _absent
from flyweight.cli.optimize import _show, _strategy
from flyweight.cli.parser import parser, repeatable
from flyweight.compress.prune.structures.element import element
from flyweight.core.footprint import Footprint
from flyweight.core.frontier import Frontier
from flyweight.core.point import Point
from flyweight.deploy.export.onnx import export_onnx
from flyweight.search.chain import chain
from flyweight.search.kernel_blocks import kernel_blocks
from flyweight.search.pruned import SPARSE_RATIOS, pruned
from flyweight.search.until import until
from flyweight.tasks.load import BUILT_IN

TASK = f"{Path(tiny.__file__)}:fresh_task"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    task = tiny.task()
    return export_onnx(task.model, task, tmp_path_factory.mktemp("model") / "model.onnx").path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flyweight.search.evaluate.footprints", arms.counted)
        assert cli.main(["optimize", TASK, "--out", str(folder), "--timeout", "0.0001"]) == 0
    return folder


def fails(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """Runs the command, which has to fail, and returns the one line that it says."""
    assert cli.main(list(arguments)) == code
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "Traceback" not in said
    return said


def test_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == f"flyweight {__version__}"


@pytest.mark.parametrize("command", ["", "optimize", "measure", "report", "predict", "doctor"])
def test_helps_everywhere(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert "usage: flyweight" in capsys.readouterr().out


def test_says_what_it_can_do_when_asked_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "optimize" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["optimise", "x"], ["optimize"], ["optimize", "x", "--thread", "2"], ["measure"]]
)
def test_wrong_usage_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_optimize_prints_the_table_and_keeps_the_run(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["optimize", TASK, "--out", str(finished), "--timeout", "0.0001", "--max-drop", "0.1"]) == 0
    printed = capsys.readouterr()
    assert "baseline" in printed.out
    best = Frontier.load(finished).best()
    assert f"take: {finished / best.path}  ({best.label})" in printed.out
    assert "report.html" in printed.out
    assert "✓ baseline: " in printed.err
    assert "\x1b[" not in printed.out
    assert Frontier.load(finished).about["max_drop"] == 0.1


def test_optimize_prints_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["optimize", TASK, "--out", str(finished), "--timeout", "0.0001", "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["points"][0]["label"] == "baseline"
    assert printed.err == ""


def test_options_may_come_from_a_file(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_text(f"out: {finished}\ntimeout: 10ms\nbudget:\n- size_bytes<=1e9\n")
    config = ["--config", str(tmp_path / "run.yaml")]
    assert "'10ms' is no time limit" in fails(capsys, "optimize", TASK, *config)
    assert cli.main(["optimize", TASK, *config, "--timeout", "0.0001", "--budget", "latency_ms<=9"]) == 0
    assert Frontier.load(finished).about["budgets"] == ["size_bytes<=1000000000", "latency_ms<=9"]


def test_a_budget_that_nothing_meets_ends_with_three(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["optimize", TASK, "--out", str(finished), "--timeout", "0.0001", "--budget", "size_bytes<=10"]
    assert cli.main(command) == 3
    printed = capsys.readouterr()
    assert "baseline" in printed.out
    assert "closest came 'baseline' with size_bytes=" in printed.err


def test_ctrl_c_ends_with_130(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(point: Point) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flyweight.cli.optimize._show", stop)
    assert cli.main(["optimize", TASK, "--out", str(finished)]) == 130
    assert "baseline" in capsys.readouterr().out


def test_the_help_names_every_task(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit):
        cli.main(["optimize", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert f"{', '.join(BUILT_IN)}, or path/to/file.py:attribute" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fashion-mni"], "UnknownNameError: there is no task 'fashion-mni'. Did you mean 'fashion-mini'?"),
        (["nowhere.py:task"], "TaskError: there is no file"),
        ([TASK, "--budget", "size_byte<=3"], "Did you mean 'size_bytes'?"),
        ([TASK, "--budget", "size_bytes"], "BudgetError: 'size_bytes' is no budget."),
        ([TASK, "--timeout", "soon"], "FlyweightError: 'soon' is no time limit."),
        ([TASK, "--workers", "2"], "--workers 2 needs --strategy free"),
        ([TASK, "--ratios", "[0.3]"], "--ratios [0.3] needs --strategy prune; survey chooses for itself"),
        ([TASK, "--structure", "blocks"], "--structure blocks needs --strategy prune; survey chooses for itself"),
        ([TASK, "--runtime", "openvin"], "Did you mean 'openvino'?"),
        ([TASK, "--runtime", "nomod:func"], "the runtime 'nomod:func' cannot be imported: ModuleNotFoundError"),
        ([TASK, "--threads", "0"], "FlyweightError: optimize got threads=0. Give 1 or more."),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in fails(capsys, "optimize", *arguments, "--out", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_the_seed_reaches_the_trials_of_the_free_search() -> None:
    options = parser().parse_args(["optimize", TASK, "--strategy", "free", "--seed", "5"])["optimize"]
    assert _strategy(options).seed == 5
    assert _strategy(options).space.seed == 5


def test_pruning_is_a_strategy_by_ratios_or_to_a_budget() -> None:
    def strategy(*arguments: str) -> object:
        given = repeatable(["optimize", TASK, "--strategy", "prune", *arguments])
        return _strategy(parser().parse_args(given)["optimize"])

    assert strategy() == pruned()
    assert strategy("--ratios", "[0.2,0.6]", "--seed", "3") == pruned((0.2, 0.6), chain(seed=3))
    assert strategy("--budget", "latency_ms<=2") == until(chain())
    assert strategy("--budget", "latency_ms<=2", "--ratios", "[0.2]") == pruned((0.2,)), "what was asked for is tried"
    blocks = chain(structure=kernel_blocks())
    assert strategy("--structure", "blocks") == pruned(SPARSE_RATIOS, blocks)
    assert strategy("--structure", "weights", "--ratios", "[0.8]") == pruned((0.8,), chain(structure=element()))
    assert strategy("--structure", "blocks", "--budget", "latency_ms<=2") == until(blocks)


def test_a_look_at_a_ratio_is_shown_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    _show(Point(id="x", label="channels", failure="not trained: measured at size_bytes 9"))
    _show(Point(id="x", label="channels", failure="ParityError: no"))
    assert [line[0] for line in capsys.readouterr().err.splitlines()] == ["·", "✗"]


def test_debug_shows_where() -> None:
    with pytest.raises(Exception, match="there is no task"):
        cli.main(["optimize", "fashion-mni", "--debug"])


def test_a_folder_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "did not put there" in fails(capsys, "optimize", TASK, "--out", str(tmp_path))
    assert "a file stands where" in fails(capsys, "optimize", TASK, "--out", str(tmp_path / "notes.txt"))


def test_measures_files(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["measure", str(model), "--baseline", str(model)]) == 0
    printed = capsys.readouterr().out
    assert "model.onnx" in printed
    assert "median" in printed
    assert "energy_mj not measured: no counter" in printed or "energy" in printed
    assert cli.main(["measure", str(model), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["size_bytes"] == model.stat().st_size
    assert row["why"]["speedup"] == "no baseline was given"


def test_a_meter_of_ones_own_reaches_the_measuring(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []

    def noted(files: list[Path], **options: object) -> list[Footprint]:
        given.append(options["meter"])
        return [Footprint() for _ in files]

    monkeypatch.setattr(importlib.import_module("flyweight.measure.footprint"), "footprints", noted)
    assert cli.main(["measure", str(model), "--meter", "mine:joules"]) == 0
    assert given == ["mine:joules"]


def test_says_which_file_cannot_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    assert "broken.onnx" in fails(capsys, "measure", str(tmp_path / "broken.onnx"))
    assert "none.onnx" in fails(capsys, "measure", str(tmp_path / "none.onnx"))


def test_makes_the_report_anew(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", str(finished), "--out", str(tmp_path / "r.html")]) == 0
    assert "baseline" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert "holds no frontier.json" in fails(capsys, "report", str(tmp_path))


def test_predicts(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tiny.task()
    images = task.data.select.tensors[0][:3]
    wanted = task.model(images).detach().numpy()
    np.save(tmp_path / "x.npy", images.numpy())
    np.save(tmp_path / "one.npy", images[0].double().numpy())
    assert cli.main(["predict", str(model), str(tmp_path / "x.npy"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert cli.main(["predict", str(model), str(tmp_path / "one.npy"), "--out", str(tmp_path / "y.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted[:1], atol=1e-4)
    capsys.readouterr()
    assert cli.main(["predict", str(model), str(tmp_path / "x.npy"), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith(f"  0: [{wanted[0].argmax()}] ")
    assert len(lines) == 4


def test_says_which_input_does_not_fit(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 9, 8), np.float32))
    (tmp_path / "text.npy").write_text("hello")
    x = str(tmp_path / "x.npy")
    assert "ShapeError" in fails(capsys, "predict", str(model), x)
    assert "takes 1 input(s)" in fails(capsys, "predict", str(model), x, x)
    assert "text.npy cannot be read as a numpy array" in fails(
        capsys, "predict", str(model), str(tmp_path / "text.npy")
    )
    assert "none.npy" in fails(capsys, "predict", str(model), str(tmp_path / "none.npy"))


def test_the_doctor_tells_what_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyweight.cli.doctor._absent", lambda module: module == "openvino")
    assert cli.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["missing"] == {"openvino": 'pip install "flyweight[openvino]"'}
    assert told["runtimes"]["openvino"] == "not installed"
    assert told["runtimes"]["onnxruntime"].startswith("available, ")
    assert told["host"]["isa"]
    assert told["kernels"]["path"] in ("avx512", "avx2", "portable", "none")
    assert set(told["counters"]) == {"energy, cpu", "energy, cuda"}
    assert cli.main(["doctor"]) == 0
    assert 'pip install "flyweight[openvino]"' in capsys.readouterr().out


def test_the_doctor_tells_why_no_kernels_are_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FLYWEIGHT_KERNELS", raising=False)
    monkeypatch.setenv("FLYWEIGHT_LIBRARY", str(tmp_path / "gone.so"))
    assert cli.main(["doctor", "--json"]) == 0
    kernels = json.loads(capsys.readouterr().out)["kernels"]
    assert kernels["path"] == "none"
    assert kernels["why"].endswith("gone.so, where there is no file; build it, or unset the variable")
    assert cli.main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "kernels:\n  path                 none\n  why " in shown


def test_a_missing_extra_is_told(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not _absent("openvino"):
        pytest.skip("openvino is installed")
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8), np.float32))
    said = fails(capsys, "predict", str(model), str(tmp_path / "x.npy"), "--runtime", "openvino")
    assert 'pip install "flyweight[openvino]"' in said


def test_small_commands_start_without_torch(model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8), np.float32))
    code = f"""
import contextlib, sys
from flyweight.cli import main as cli
for arguments in (["doctor"], ["predict", {str(model)!r}, {str(tmp_path / "x.npy")!r}], ["measure", {str(model)!r}]):
    assert cli.main(arguments) == 0
with contextlib.suppress(SystemExit):
    cli.main(["--version"])
assert "torch" not in sys.modules, "torch was imported"
assert "optuna" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "flyweight", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"flyweight {__version__}"
