"""Footprints: every field or why not, in a process without torch; children that die or hang leave a reason."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnx_files
from flyweight.core.errors import ArtifactError, FlyweightError, ShapeError
from flyweight.core.footprint import COSTS, Footprint
from flyweight.deploy.evaluate import measure
from flyweight.deploy.export.bitmap import bitmap
from flyweight.measure import footprint as module
from flyweight.measure import probe
from flyweight.measure.child import Answer, ask
from flyweight.measure.energy import energy, find_counter
from flyweight.measure.footprint import footprints

ORT = "flyweight.deploy.runtimes.onnxruntime:open_session"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    model = onnx.load(onnx_files.conv_net(folder / "sparse.onnx", channels=256))
    for tensor in model.graph.initializer[:3:2]:
        values = onnx.numpy_helper.to_array(tensor).copy()
        values.reshape(-1)[np.arange(values.size) % 10 > 0] = 0
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    bitmap(model)
    onnx.save(model, folder / "sparse.onnx")
    return {
        "sparse": folder / "sparse.onnx",
        "small": onnx_files.conv_net(folder / "small.onnx"),
        "large": onnx_files.conv_net(folder / "large.onnx", channels=256),
        "integer": onnx_files.quantized_net(folder / "integer.onnx", channels=256),
    }


@pytest.fixture(scope="module")
def found(files: dict[str, Path]) -> dict[str, Footprint]:
    prints = footprints(list(files.values()), runtime=ORT, baseline=files["large"], seconds=0.15)
    return dict(zip(files, prints, strict=True))


def test_every_field_has_a_value_or_a_reason(found: dict[str, Footprint], files: dict[str, Path]) -> None:
    for name, one in found.items():
        for field in (*COSTS, "speedup"):
            assert (getattr(one, field) is None) == (field in one.why), field
        assert set(one.why) <= {"energy_mj"}
        assert one.size_bytes == files[name].stat().st_size
        assert one.gzip_bytes
        assert json.loads(json.dumps(one.to_json())) == one.to_json()
        assert Footprint.from_json(one.to_json()) == one


def test_the_details_explain(found: dict[str, Footprint]) -> None:
    detail = found["integer"].detail
    assert detail["threads"] == detail["batch"] == 1
    assert detail["runtime"].startswith("onnxruntime ")
    assert detail["probe_had_torch"] is False
    assert detail["float_nodes"] == ["Softmax 'softmax'"]
    assert detail["float_ops"] == ["Softmax"]
    assert 0 < detail["empty_call_ms"] < found["integer"].latency_ms
    assert found["small"].detail["zero_share"] == round((8 + 5) / found["small"].parameters, 4)  # the biases
    assert detail["n"] > 5
    assert 0.99 < sum(detail["time_by_op"].values()) < 1.01
    assert {"QLinearConv", "Softmax"} <= set(detail["time_by_op"])
    assert list(detail["time_by_op"].values()) == sorted(detail["time_by_op"].values(), reverse=True)
    assert "Softmax" in detail["uncounted_ops"]
    assert detail["graph_bytes"] + detail["weight_bytes"] == found["integer"].size_bytes
    assert "float_nodes" not in found["small"].detail


def test_zeros_that_the_file_leaves_out_are_told(found: dict[str, Footprint]) -> None:
    sparse, dense = found["sparse"], found["large"]
    assert sparse.size_bytes < 0.3 * dense.size_bytes
    assert sparse.macs == dense.macs
    assert sparse.detail["macs_nonzero"] == pytest.approx(sparse.macs / 10, rel=0.01)
    assert sparse.parameters == pytest.approx(dense.parameters / 10, abs=0.1 * (256 + 5) + 256 + 5)
    assert sparse.detail["zero_share"] == pytest.approx(dense.detail["zero_share"] + 0.87, abs=0.03)
    assert 256 * 27 // 8 <= sparse.detail["place_bytes"] < 0.5 * sparse.size_bytes
    assert dense.detail["macs_nonzero"] == dense.macs
    assert "place_bytes" not in dense.detail
    assert set(sparse.detail["time_by_op"]) == set(dense.detail["time_by_op"]), "nothing is left to do in a call"


def test_speedups_are_against_the_baseline(found: dict[str, Footprint]) -> None:
    assert found["large"].speedup == 1
    small = found["small"]
    assert small.speedup is not None
    assert small.speedup > 1
    low, high = small.detail["speedup_quartiles"]
    assert low <= high
    assert small.peak_memory_bytes < found["large"].peak_memory_bytes + (64 << 20)  # type: ignore[operator]


def test_measure_is_the_public_door(files: dict[str, Path]) -> None:
    one = measure(files["small"], baseline=files["large"], seconds=0.05, batch=4)
    assert one.detail["batch"] == 4
    assert one.macs == 8 * 27 * 64 + 8 * 5
    assert one.speedup is not None
    assert "speedup" in measure(files["small"], seconds=0.05).why


def test_a_file_with_a_batch_of_its_own_is_not_compared(tmp_path: Path, files: dict[str, Path]) -> None:
    path = onnx_files.conv_net(tmp_path / "fixed.onnx", batch=3)
    (one,) = footprints([path], runtime=ORT, baseline=files["large"], seconds=0.05)
    assert one.detail["batch"] == 3
    assert one.macs == 8 * 27 * 64 + 8 * 5
    assert one.why["speedup"] == "the baseline's file takes 1 examples a call, this one 3"


def test_inputs_of_ones_own(tmp_path: Path) -> None:
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "m")
    weight = {"w": np.ones((6, 5), np.float32)}
    path = onnx_files.write(tmp_path / "m.onnx", [node], {"x": ["n", "t", 6]}, {"y": ["n", "t", 5]}, weight)
    with pytest.raises(ShapeError, match=r"leaves more than its first size open.*Give inputs="):
        measure(path, seconds=0.05)
    one = measure(path, seconds=0.05, inputs=[np.ones((2, 7, 6), np.float32)])
    assert one.latency_ms is not None
    assert one.detail["batch"] == 2
    assert one.why["macs"] == "the shape of 'x', at MatMul 'm', is unknown"


def test_damaged_files_and_arguments(tmp_path: Path, files: dict[str, Path]) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"rubbish")
    with pytest.raises(ArtifactError, match=r"broken\.onnx .* is no whole \.onnx file"):
        measure(path)
    model = onnx.load(files["small"])
    model.graph.node[1].op_type = "Frobnicate"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=r"ONNX Runtime .* cannot open .*broken\.onnx.*Frobnicate"):
        measure(path, seconds=0.05)
    with pytest.raises(FlyweightError, match="threads=0, batch=1, seconds=1 measure nothing"):
        measure(files["small"], threads=0)
    with pytest.raises(FlyweightError, match=r"the runtime 'nowhere:f' cannot be imported"):
        measure(files["small"], runtime="nowhere:f", seconds=0.05)


RUNTIMES = """
import os, time
from flyweight.deploy.runtimes.onnxruntime import open_session

def dies(path, threads=1):
    if path.name == "large.onnx":
        print("noise on stdout", flush=True)
        os.abort()
    return open_session(path, threads)

def hangs(path, threads=1):
    time.sleep(60)

def raises(path, threads=1):
    session = open_session(path, threads)
    def call(*arrays):
        raise RuntimeError("this chip is on fire")
    return type("S", (), {"inputs": session.inputs, "device": "cpu", "__call__": lambda self, *a: call(*a)})()
"""


@pytest.fixture
def runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_runtimes.py").write_text(RUNTIMES)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("runtimes")
def test_one_that_dies_does_not_take_the_others_with_it(files: dict[str, Path]) -> None:
    paths = [files["small"], files["large"]]
    small, large = footprints(paths, runtime="my_runtimes:dies", seconds=0.05)
    assert small.latency_ms is not None
    assert large.latency_ms is large.peak_memory_bytes is large.load_ms is None
    assert large.why["latency_ms"].startswith("the measuring process was killed by SIGABRT")
    assert large.macs is not None


@pytest.mark.usefixtures("runtimes")
def test_one_that_hangs_is_stopped(files: dict[str, Path]) -> None:
    start = time.perf_counter()
    (one,) = footprints([files["small"]], runtime="my_runtimes:hangs", seconds=0.05, timeout=1.5)
    assert time.perf_counter() - start < 10
    assert one.why["latency_ms"] == "the measuring process was stopped after 1.5 s without an answer"


@pytest.mark.usefixtures("runtimes")
def test_one_that_raises_tells_what(files: dict[str, Path]) -> None:
    (one,) = footprints([files["small"]], runtime="my_runtimes:raises", seconds=0.05)
    assert "ended with status 1: RuntimeError: this chip is on fire" in one.why["latency_ms"]
    assert one.why["energy_mj"].startswith("not tried")


METER = "import time\ndef joules():\n    return 5 * time.process_time()\n"


def test_energy_is_measured_where_a_counter_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, Path]
) -> None:
    (tmp_path / "process_meter.py").write_text(METER)
    monkeypatch.syspath_prepend(tmp_path)
    # The child would rest and loop for ten seconds; its job is done here, for a shorter time.
    monkeypatch.setattr(probe, "energy", functools.partial(energy, seconds=0.1))
    monkeypatch.setattr(probe, "find_counter", functools.partial(find_counter, sys=tmp_path))

    def here(request: dict[str, Any], timeout: float) -> Answer:
        return Answer(probe._energy(request)) if request["job"] == "energy" else ask(request, timeout)

    monkeypatch.setattr(module, "ask", here)
    (one,) = footprints([files["large"]], runtime=ORT, seconds=0.05, meter="process_meter:joules")
    assert one.detail["energy_counter"] == "process_meter:joules"
    # 5 W while the process runs: 5 mJ a millisecond, which is what a call takes.
    assert "energy_mj" not in one.why
    assert one.energy_mj == pytest.approx(5 * one.latency_ms, rel=0.6)


def test_the_probe_speaks_json_alone(files: dict[str, Path]) -> None:
    request = {"job": "memory", "runtime": ORT, "threads": 1, "batch": 1, "inputs": None, "path": str(files["small"])}
    command = [sys.executable, "-m", "flyweight.measure.probe"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert answer["torch"] is False
    assert answer["found"]["peak_bytes"] > 0
    assert answer["found"]["load_ms"] > 0


@pytest.mark.parametrize(
    ("options", "jobs", "why"),
    [
        ({"upto": "counts"}, [], "not asked for"),
        ({"upto": "latency"}, ["latency"], "not asked for"),
        ({"within": 0.0}, ["latency"], "the time limit left no time for it"),
        ({"within": 60.0}, ["latency", "memory"], None),
    ],
)
def test_no_more_is_measured_than_was_asked_for(
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    jobs: list[str],
    why: str | None,
) -> None:
    asked: list[tuple[str, float]] = []

    def here(request: dict[str, Any], timeout: float) -> Answer:
        asked.append((request["job"], timeout))
        found = getattr(probe, f"_{request['job']}")(request) if request["job"] == "latency" else None
        return Answer(found, "never begun", {"torch": False})

    monkeypatch.setattr(module, "ask", here)
    (one,) = footprints([files["small"]], runtime=ORT, baseline=files["small"], seconds=0.01, **options)
    assert [job for job, _ in asked if job != "energy"] == jobs
    assert one.size_bytes and one.parameters and one.macs
    assert (one.latency_ms is None) == (one.speedup is None) == ("latency" not in jobs)
    assert one.why["load_ms"] == (why or "never begun")
    if options.get("within"):
        assert dict(asked)["memory"] <= 60.0
