"""What a killed process left half written goes; what a living one writes stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flyweight.core.atomic import atomic_path, written_by
from flyweight.core.errors import FlyweightError
from flyweight.core.owner import lives, owner
from flyweight.core.store import Store
from flyweight.core.sweep import sweep

_WRITE = """
import sys, time
from pathlib import Path
from flyweight.core.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(60)
"""


def test_opening_a_store_clears_what_a_killed_process_left(tmp_path):
    folder = tmp_path / "out"
    Store(folder)
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(folder / "steps" / "a.b-c.json")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    half = folder / "steps" / name
    with atomic_path(folder / "mine.json") as own:
        Store(folder)
        assert half.exists(), "its process lives"
        process.kill()
        process.wait()
        Store(folder)
        assert not half.exists()
        assert own.exists()
    assert (folder / "mine.json").exists()
    assert {p.name for p in folder.rglob("*")} == {"flyweight.json", "steps", "mine.json"}


def test_only_our_own_temporaries_go(tmp_path):
    kept = [".hidden", "a~b~1~2.0~x", f".a.~elsewhere~{os.getpid()}~1.00~xyz.json", ".a.json.abcdefgh.json"]
    gone = [f".a.~{os.uname().nodename}~{os.getpid()}~1.00~xyz.json", f".a.~{os.uname().nodename}~999999999~1.00~x_z"]
    for name in (*kept, *gone):
        (tmp_path / name).write_text("x")
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == set(kept)
    sweep(tmp_path / "nowhere")


def test_what_cannot_be_deleted_stays(tmp_path, monkeypatch):
    name = f".a.~{os.uname().nodename}~999999999~1.00~xyz"
    (tmp_path / name).write_text("x")

    def refuse(self):
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    sweep(tmp_path)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["a.json", "model", ".x.1-2"])
def test_a_temporary_tells_its_process(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        temporary.touch()
        assert written_by(temporary.name) == owner()
        assert temporary.name.endswith(Path(name).suffix)


def test_who_lives():
    host, process, made = owner().split(" ")
    assert process == str(os.getpid())
    assert lives(owner())
    assert abs(float(made) - time.time()) < 1e6
    assert not lives(f"{host} {process} {float(made) - 100:.2f}"), "the number was given again"
    assert lives(f"another-{host} 1 1.00")
    assert not any(map(lives, (None, "", "x y z", f"{host} 999999999 1.00")))


def test_a_system_that_does_not_tell(monkeypatch):
    import psutil

    def denied(*args):
        raise psutil.AccessDenied(1)

    told = owner()
    monkeypatch.setattr("psutil.Process", denied)
    with pytest.raises(FlyweightError, match="cannot tell whether process"):
        lives(told)
