"""The host: plain JSON, and nothing imported for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from flyweight.measure import host as module
from flyweight.measure.host import host


def test_it_is_json_and_tells_the_versions() -> None:
    import onnxruntime

    found = json.loads(json.dumps(host()))
    assert found["versions"]["onnxruntime"] == onnxruntime.__version__
    assert found["cores"] >= 1
    assert found["cpu"]
    assert "flyweight" not in found["versions"]


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from flyweight.measure.host import host; host(); "
        "print({*sys.modules} & {'torch', 'onnx', 'numpy'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_arm_names_its_instructions_otherwise(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nHardware\t: A chip\n\nprocessor\t: 1\n")
    model, flags = module._cpu(info)
    assert model == "A chip"
    assert {"asimddp", "i8mm"} <= flags
    assert module._cpu(tmp_path / "none")[1] == frozenset()
