"""The house's shape, read from the sources: rooms, sizes, imports, docstrings."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "flyweight"
ROOMS = (
    *("core", "numerics", "kernels", "surgery", "layers", "models", "measure", "learn"),
    *("compress", "deploy", "search", "report", "tasks", "testing", "cli"),
)
# Everything else is imported inside the function that uses it. torch stands in for what comes with it.
LIGHT = {"torch", "numpy", "safetensors", "flyweight", *sys.stdlib_module_names}
NAMELESS = {"utils", "util", "helpers", "helper", "base", "common", "manager", "misc"}
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 400


def room_of(module: str) -> str | None:
    """``flyweight.learn.fit`` → ``learn``; None for what is no room of ours."""
    parts = module.split(".")
    return parts[1] if parts[0] == "flyweight" and len(parts) > 1 and parts[1] in ROOMS else None


def imports(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and full name of every import in ``tree``, those inside functions too, and of strings given to importlib."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                found.append((node.lineno, name.value))
    return found


def upward(tree: ast.AST, room: str) -> list[str]:
    """The imports of ``tree``, a module of ``room``, that go up."""
    return [
        f"line {line}: {room} imports {name}"
        for line, name in imports(tree)
        if (theirs := room_of(name)) and ROOMS.index(theirs) > ROOMS.index(room)
    ]


def at_import(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements that run when a module is imported: not those of functions, nor of ``if TYPE_CHECKING``."""
    found: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found += at_import(node.orelse)
            continue
        found.append(node)
        for part in ("body", "orelse", "finalbody"):
            found += at_import(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            found += at_import(handler.body)
    return found


def heavy(tree: ast.Module) -> list[str]:
    """The libraries that ``tree`` imports when it is imported, and should not."""
    found = []
    for node in at_import(tree.body):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [f"line {line}: {name}" for line, name in imports(node) if name.split(".")[0] not in LIGHT]
    return sorted(set(found))


def undocumented(tree: ast.Module) -> list[str]:
    """Public classes, functions and methods without a docstring; an override and a dunder inherit theirs."""
    found = []

    def visit(body: list[ast.stmt], prefix: str, inherits: bool) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            overrides = inherits and isinstance(node, ast.FunctionDef)
            if not ast.get_docstring(node) and not overrides:
                found.append(f"line {node.lineno}: {prefix}{node.name}")
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{node.name}.", bool(node.bases))

    visit(tree.body, "", inherits=False)
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def each(check) -> list[str]:
    """What ``check`` found, told with its file."""
    return [f"{path.relative_to(ROOT)}: {found}" for path in FILES for found in check(path)]


def test_rooms_import_downwards():
    def check(path):
        room = room_of(".".join(path.relative_to(SOURCE.parent).with_suffix("").parts))
        return upward(parse(path), room) if room else []

    assert each(check) == []


def test_every_file_is_in_a_room():
    known = {*ROOMS, "__init__", "__main__"}
    assert [p.name for p in SOURCE.iterdir() if p.suffix == ".py" and p.stem not in known] == []
    assert [p.name for p in SOURCE.iterdir() if p.is_dir() and p.name not in {*ROOMS, "__pycache__"}] == []


def test_files_are_short_and_named():
    def check(path):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        yield from [f"{lines} lines, {LONGEST} the most"] if lines > LONGEST else []
        yield from ["a name that says nothing"] if {path.stem, path.parent.name} & NAMELESS else []

    assert each(check) == []


def test_heavy_libraries_are_imported_where_they_are_used():
    assert each(lambda path: heavy(parse(path))) == []


def test_package_inits_import_nothing():
    def check(path):
        if path.name == "__init__.py" and path.parent != SOURCE:
            return [f"line {line}: {name}" for line, name in imports(parse(path)) if name != "__future__.annotations"]
        return []

    assert each(check) == []


def test_public_things_are_documented():
    def check(path):
        tree = parse(path)
        return undocumented(tree) if path.name == "__init__.py" or ast.get_docstring(tree) else ["no module docstring"]

    assert each(check) == []


def test_no_stubs_and_nothing_left_for_later():
    def check(path):
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Raise) and "NotImplementedError" in ast.dump(node):
                yield f"line {node.lineno}: a stub"

    marks = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if any(mark in line for mark in ("TODO", "FIXME", "XXX"))
    ]
    assert each(check) + marks == []


def test_every_public_name_has_its_home():
    import flyweight

    for name, home in flyweight._HOMES.items():
        path = SOURCE / (home.replace(".", "/") + ".py")
        assert path.exists(), f"flyweight.{name} should be in {path}"
        bound = {
            getattr(node, "name", None) or ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            for node in parse(path).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign)
        }
        assert name in bound, f"{path} holds no {name}"


def test_import_flyweight_is_almost_free():
    code = (
        "import sys, time; start = time.perf_counter(); import flyweight; seconds = time.perf_counter() - start;"
        "print(seconds, [m for m in ('torch', 'numpy', 'onnx', 'kornia') if m in sys.modules])"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    assert all(run.stdout.split(maxsplit=1)[1].strip() == "[]" for run in runs)
    assert min(float(run.stdout.split()[0]) for run in runs) < 0.1


@pytest.mark.parametrize(
    ("find", "source", "expected"),
    [
        (
            lambda t: upward(t, "core"),
            "def f():\n    from flyweight.learn import fit",
            ["line 2: core imports flyweight."],
        ),
        (lambda t: upward(t, "core"), "import importlib\nimportlib.import_module('flyweight.cli')", ["line 2: core"]),
        (lambda t: upward(t, "learn"), "from flyweight.core import task\nimport torch", []),
        (heavy, "try:\n    import kornia\nexcept ImportError:\n    pass", ["line 2: kornia"]),
        (heavy, "def f():\n    import kornia\nif TYPE_CHECKING:\n    import onnx", []),
        (undocumented, "def f(): pass\nclass A:\n    'doc'\n    def g(self): pass", ["line 1: f", "line 4: A.g"]),
    ],
)
def test_the_readers_see_what_they_should(find, source, expected):
    found = find(ast.parse(source))
    assert len(found) == len(expected)
    assert all(got.startswith(want) for got, want in zip(found, expected, strict=True))
