"""The price of a model: a measured field of its exported file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from flyweight.core.errors import ArtifactError, unknown_name
from flyweight.core.footprint import COSTS
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.export.sparse.sparse import check_kernels
from flyweight.deploy.runtimes.open import runtime_name
from flyweight.measure.footprint import Depth, footprints

_DEPTHS: dict[str, Depth] = {
    **dict.fromkeys(("size_bytes", "gzip_bytes", "parameters", "macs"), "counts"),
    **dict.fromkeys(("latency_ms", "latency_iqr_ms", "latency_p90_ms"), "latency"),
}


@dataclass(frozen=True)
class priced:
    """``priced(task, "latency_ms")(models)``: what each model's file costs in that field, timed in turns.

    With ``kernels="auto"`` the files are those that run on the sparse kernels where that is faster.

    Raises :class:`UnknownNameError` for a field that is not measured, and :class:`ArtifactError` where a measurement
    gives nothing, with its reason.
    """

    task: Task
    field: str = "latency_ms"
    runtime: str = "onnxruntime"
    threads: int = 1
    seconds: float = 0.3
    kernels: str = "none"

    def __post_init__(self) -> None:
        if self.field not in COSTS:
            raise unknown_name("measured field", self.field, COSTS)
        check_kernels(self.kernels)

    def __call__(self, models: Sequence[nn.Module]) -> list[float]:
        with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
            paths = [Path(folder) / f"{index}.onnx" for index in range(len(models))]
            for model, path in zip(models, paths, strict=True):
                export_onnx(model, self.task, path, kernels=self.kernels)
            found = footprints(
                paths,
                runtime=runtime_name(self.runtime),
                threads=self.threads,
                seconds=self.seconds,
                inputs=[t[:1].numpy() for t in self.task.example],
                upto=_DEPTHS.get(self.field, "memory"),
            )
        values = [getattr(one, self.field) for one in found]
        missing = next((f.why[self.field] for f, v in zip(found, values, strict=True) if v is None), None)
        if missing is not None:
            raise ArtifactError(f"ArtifactError: {self.field} was not measured: {missing}. Price another field.")
        return [float(v) for v in values]
