"""OpenVINO, reading the same ``.onnx`` file: an extra, often faster than the default on Intel's processors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight.core.errors import ArtifactError, MissingExtraError
from flyweight.deploy.runtimes.domains import domains
from flyweight.deploy.runtimes.onnxruntime import misfit
from flyweight.kernels.library import DOMAIN
from flyweight.measure.session import Port

if TYPE_CHECKING:
    from flyweight.measure.session import Array

_NUMPY = {
    "f32": "float32",
    "f64": "float64",
    "f16": "float16",
    "bf16": "bfloat16",
    "boolean": "bool",
    **{f"{short}{bits}": f"{long}{bits}" for short, long in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)},
}
"""OpenVINO's names of element types, as numpy's."""


class OpenVinoSession:
    """A file opened in OpenVINO on the CPU, one stream of ``threads`` threads, float layers in float32.

    By itself OpenVINO computes float layers in bfloat16 where the processor has it; then the artifact would not
    compute what the model computes, so the precision is set.
    """

    device = "cpu"

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        compiled = _open(path, threads)
        self._request = compiled.create_infer_request()
        self.runtime = f"openvino {library().__version__}"
        self.inputs = tuple(_port(p) for p in compiled.inputs)
        self.outputs = tuple(_port(p) for p in compiled.outputs)

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs for one array an input; raises :class:`ShapeError` where the arrays do not fit the file."""
        try:
            self._infer(self._request, arrays)
        except Exception as error:  # what the runtime raises has no common class
            raise misfit(self._path, self.inputs, arrays, error) from error
        # The request writes its next outputs where these lie.
        return tuple(self._request.get_output_tensor(i).data.copy() for i in range(len(self.outputs)))

    def op_times(self, arrays: Sequence[Array], calls: int) -> dict[str, float]:
        """Microseconds a call by operation, as OpenVINO's counters tell for the graph that it optimized."""
        request = _open(self._path, self._threads, {"PERF_COUNT": True}).create_infer_request()
        times: dict[str, float] = defaultdict(float)
        for _ in range(calls):
            self._infer(request, arrays)
            for node in request.profiling_info:
                times[node.node_type] += node.real_time.total_seconds() * 1e6 / calls
        return {op: time for op, time in times.items() if time > 0}

    def _infer(self, request: Any, arrays: Sequence[Array]) -> None:
        if len(arrays) != len(self.inputs):  # OpenVINO would run on what a missing input held before
            raise ValueError(f"{len(arrays)} arrays for {len(self.inputs)} inputs")
        for port, array in zip(self.inputs, arrays, strict=True):
            if str(array.dtype) != port.dtype:  # OpenVINO would convert it, silently
                raise ValueError(f"{array.dtype} where {port.dtype} is needed")
        request.infer(list(arrays), share_inputs=True)


def open_session(path: Path | str, threads: int = 1) -> OpenVinoSession:
    """Opens an ``.onnx`` file; raises :class:`ArtifactError`, or :class:`MissingExtraError` without OpenVINO."""
    return OpenVinoSession(Path(path), threads)


def _open(path: Path, threads: int, more: dict[str, Any] | None = None) -> Any:
    if threads < 1:
        raise ArtifactError(f"ArtifactError: cannot open {path} with threads={threads}. Give 1 or more.")
    if not path.is_file():
        raise ArtifactError(f"ArtifactError: there is no file {path}. Give the path of an .onnx file.")
    if DOMAIN in domains(path):
        raise ArtifactError(
            f"ArtifactError: {path} runs on flyweight's sparse kernels, which ONNX Runtime alone can take in. Open it "
            "with runtime='onnxruntime', or take the plain file of the same model: the one beside it (.plain.onnx), "
            'or export_onnx(…, kernels="none").'
        )
    loaded = library()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        **(more or {}),
    }
    try:
        return loaded.Core().compile_model(str(path), "CPU", settings)
    except Exception as error:  # as above
        said = " ".join(str(error).split())[:300]
        raise ArtifactError(
            f"ArtifactError: OpenVINO {loaded.__version__} cannot open {path} ({path.stat().st_size} bytes): {said}. "
            "Is it a whole .onnx file? Export it again, at opset 21 or lower, or use runtime='onnxruntime'."
        ) from error


def _port(found: Any) -> Port:
    kind = found.get_element_type().get_type_name()
    shape = tuple(None if size.is_dynamic else size.get_length() for size in found.get_partial_shape())
    return Port(found.get_any_name(), shape, _NUMPY.get(kind, kind))


def library() -> Any:
    """OpenVINO itself, imported: measuring does so before it looks at memory."""
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError(
            'MissingExtraError: OpenVINO is not installed. Install it: pip install "flyweight[openvino]"; '
            "or use runtime='onnxruntime', which reads the same file."
        ) from error
    return openvino
