"""ONNX Runtime, the default: one file, the same answers in a browser, on a phone and on a server."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight.core.errors import ArtifactError, MissingExtraError, ShapeError
from flyweight.deploy.runtimes.domains import domains
from flyweight.kernels.library import DOMAIN, kernels_library, why_not
from flyweight.measure.session import Port

if TYPE_CHECKING:
    from flyweight.measure.session import Array

_NUMPY = {"float": "float32", "double": "float64", "string": "str"}
"""ONNX Runtime's names of element types, where numpy has others."""

_ERRORS_ONLY = 3


class OnnxRuntimeSession:
    """A file opened in ONNX Runtime on the CPU: optimized in every way it has, one operation at a time."""

    device = "cpu"

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        self._session = _open(path, threads)
        self.runtime = f"onnxruntime {library().__version__}"
        self.inputs = tuple(_port(p) for p in self._session.get_inputs())
        self.outputs = tuple(_port(p) for p in self._session.get_outputs())
        self._names = [p.name for p in self.inputs]

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs for one array an input; raises :class:`ShapeError` where the arrays do not fit the file."""
        try:
            return tuple(self._session.run(None, dict(zip(self._names, arrays, strict=True))))
        except Exception as error:  # what the runtime raises has no common class
            raise misfit(self._path, self.inputs, arrays, error) from error

    def op_times(self, arrays: Sequence[Array], calls: int) -> dict[str, float]:
        """Microseconds a call by operation, as ONNX Runtime's own profiler tells for the graph that it optimized.

        Each node enters by its median over ``calls`` calls, so that the first, cold one does not weigh.
        """
        with tempfile.TemporaryDirectory() as folder:
            session = _open(self._path, self._threads, profile=f"{folder}/trace")
            for _ in range(calls):
                session.run(None, dict(zip(self._names, arrays, strict=True)))
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        return _by_op(events)


def open_session(path: Path | str, threads: int = 1) -> OnnxRuntimeSession:
    """Opens an ``.onnx`` file; one with operations of ours, with the library of the sparse kernels.

    Raises :class:`ArtifactError` where it is missing, damaged, of unknown operations, or needs the library of the
    kernels and there is none.
    """
    return OnnxRuntimeSession(Path(path), threads)


def misfit(path: Path, inputs: Sequence[Port], arrays: Sequence[Array], error: Exception) -> ShapeError:
    """The error for a call that the runtime refused: what the file takes, what it got, what the runtime said."""
    got = ", ".join(f"{a.dtype}[{', '.join(map(str, a.shape))}]" for a in arrays) or "nothing"
    said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    return ShapeError(
        f"ShapeError: {path.name} cannot be called with {got}; it takes {', '.join(map(str, inputs))} "
        f"(the runtime says: {said}). Give arrays of these types and shapes, in this order."
    )


def _open(path: Path, threads: int, profile: str | None = None) -> Any:
    if threads < 1:
        raise ArtifactError(f"ArtifactError: cannot open {path} with threads={threads}. Give 1 or more.")
    if not path.is_file():
        raise ArtifactError(f"ArtifactError: there is no file {path}. Give the path of an .onnx file.")
    loaded = library()
    options = loaded.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    # A product with weights of few bits would round its float operand to int8, unasked: 0.5 % off. 1: float32.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if DOMAIN in domains(path):
        _register(options, path)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    try:
        return loaded.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ArtifactError(
            f"ArtifactError: ONNX Runtime {loaded.__version__} cannot open {path} ({path.stat().st_size} bytes): "
            f"{str(error).splitlines()[0][:300]}. Is it a whole .onnx file? Export it again, at opset 21 or lower."
        ) from error


def _register(options: Any, path: Path) -> None:
    """Has ``options`` know the operations of ours that ``path`` asks for."""
    reason = why_not()
    if reason is None:
        try:
            options.register_custom_ops_library(kernels_library())
        except Exception as error:  # as above
            reason = f"ONNX Runtime cannot take them in ({str(error).splitlines()[0][:200]})"
    if reason is not None:
        raise ArtifactError(
            f"ArtifactError: {path} runs on flyweight's sparse kernels, which are not used here: {reason}. Or take the "
            'plain file of the same model: the one beside it (.plain.onnx), or export_onnx(…, kernels="none").'
        )


def _by_op(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time"):
            nodes[str(event["args"]["op_name"]), str(event["name"])].append(float(event["dur"]))
    times: dict[str, float] = defaultdict(float)
    for (op, _), durations in nodes.items():
        times[op] += statistics.median(durations)
    return dict(times)


def _port(found: Any) -> Port:
    kind = found.type.removeprefix("tensor(").removesuffix(")")
    shape = tuple(size if isinstance(size, int) else None for size in found.shape)
    return Port(found.name, shape, _NUMPY.get(kind, kind))


def library() -> Any:
    """ONNX Runtime itself, imported: measuring does so before it looks at memory."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError(
            "MissingExtraError: onnxruntime is not installed, and it opens the files that flyweight writes. "
            "Install it: pip install onnxruntime"
        ) from error
    return onnxruntime
