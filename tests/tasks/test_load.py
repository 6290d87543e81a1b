import subprocess
import sys
from pathlib import Path

import pytest

from flyweight.core.errors import TaskError, UnknownNameError
from flyweight.core.serial import from_json, to_json
from flyweight.core.task import Task
from flyweight.tasks.load import load_task

TINY = Path(__file__).parent.parent / "tiny.py"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file and forgets afterwards that it was imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def _write(text, name="my_own_task.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    yield _write
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_function_in_a_file():
    assert load_task(f"{TINY}:residual_task").name == "tiny-residual"


def test_task_is_the_attribute_meant_where_none_is_named():
    assert load_task(str(TINY)).name == "tiny"


def test_a_task_in_a_file_beside_which_other_modules_lie(write):
    write("NAME = 'from the sister'", "sister_module.py")
    path = write(
        "import dataclasses, sister_module, tiny\n"
        "small = dataclasses.replace(tiny.task(), name=sister_module.NAME)\n"
        "def plug(x): return x\n"
    )
    task = load_task(f"{path}:small")
    assert isinstance(task, Task)
    assert task.name == "from the sister"
    assert load_task(f"{path}:small") is task


def test_its_functions_go_to_json_and_back_in_another_process(write):
    path = write("from tiny import task\ndef plug(x): return x\n")
    load_task(f"{path}:task")
    import my_own_task

    assert to_json(my_own_task.plug) == {"use": "my_own_task.plug"}
    script = (
        "from flyweight.tasks.load import load_task; from flyweight.core.serial import from_json;"
        f"load_task({str(path)!r}); print(from_json({{'use': 'my_own_task.plug'}}).__name__)"
    )
    out = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(TINY.parent)}
    )
    assert out.stdout.strip() == "plug"
    assert from_json({"use": "my_own_task.plug"}) is my_own_task.plug


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match=r"there is no task 'fashon-mini'\. Did you mean 'fashion-mini'\?"):
        load_task("fashon-mini")
    with pytest.raises(UnknownNameError, match=r"path/to/file\.py:attribute"):
        load_task("my_task")


def test_no_such_file(tmp_path, write):
    with pytest.raises(TaskError, match=r"there is no file .*nothing\.py\. Its folder holds no Python files"):
        load_task(f"{tmp_path}/nothing.py:task")
    write("", "other.py")
    with pytest.raises(TaskError, match=r"In .* there are: other\.py"):
        load_task(f"{tmp_path}/nothing.py:task")


def test_no_such_attribute():
    with pytest.raises(UnknownNameError, match=r"no attribute of .*tiny\.py 'fresh'\. Did you mean 'fresh_task'\?"):
        load_task(f"{TINY}:fresh")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("task = 3", "is no task but int"),
        ("def task(): return 'x'", "is no task but str"),
        ("def task(width): return width", "wants arguments .*'width'"),
        ("import no_such_library_at_all", r"cannot be imported: ModuleNotFoundError: No module named 'no_such_lib"),
        ("def task(:", r"cannot be imported: SyntaxError"),
    ],
)
def test_a_file_without_a_task(write, text, told):
    with pytest.raises(TaskError, match=told):
        load_task(f"{write(text)}:task")


@pytest.mark.parametrize(("name", "told"), [("random.py", "another module"), ("my-task.py", "no name of a module")])
def test_a_name_that_is_taken(write, name, told):
    with pytest.raises(TaskError, match=rf"for that is {told}\. Rename the file"):
        load_task(f"{write('task = 1', name)}:task")
