"""From a candidate to a point: made, exported, compared with its model, and measured in its runtime."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from flyweight.core.artifact import Artifact
from flyweight.core.atomic import atomic_path, store_error
from flyweight.core.errors import FlyweightError, StoreError
from flyweight.core.footprint import Footprint
from flyweight.core.notes import noted
from flyweight.core.point import Point
from flyweight.core.recipe import run
from flyweight.core.serial import to_json
from flyweight.core.store import Store
from flyweight.core.task import Task
from flyweight.deploy.export.onnx import export_onnx
from flyweight.deploy.parity import check_parity
from flyweight.deploy.runtimes.open import open_artifact, runtime_name
from flyweight.deploy.score import score
from flyweight.measure.footprint import Depth, footprints
from flyweight.search.accident import accident
from flyweight.search.candidate import Candidate
from flyweight.search.ledger import Ledger

_FULL = 1 << 20
"""Free bytes under which a failed write is put down to the disk."""

_ZEROS = 0.05
"""The share of zeros below which no layer gains from kernels that skip them."""

_BRIEF = 0.3
"""Seconds of timing a file in the midst of a search; the end of it takes longer."""


@dataclass(frozen=True)
class Evaluator:
    """Where candidates are tried: the task, the store that keeps every step, the runtime and its threads.

    ``baseline`` is the file whose latency is taken in turns with each candidate's; ``meter`` is the dotted name of a
    function that reads joules, see :class:`~flyweight.measure.footprint.Bench`; ``kernels`` is what
    :func:`~flyweight.deploy.export.onnx.export_onnx` is told. A file that runs on the sparse kernels is a point of its
    own, beside the plain one of the same recipe, and has the plain file beside it (``….plain.onnx``).
    Calling it gives the candidate's point, from the ledger where it is kept already. A candidate that fails becomes a
    point with its ``failure``; one that failed by accident, with no error of ours, is tried again next time. A folder
    that cannot be written is no candidate's fault and raises :class:`StoreError`.
    """

    task: Task
    store: Store
    runtime: str
    threads: int = 1
    baseline: Path | None = None
    meter: str | None = None
    kernels: str = "none"

    @property
    def ledger(self) -> Ledger:
        """The points of the run."""
        return Ledger(self.store.folder)

    def kept(self, candidate: Candidate) -> Point | None:
        """The point of ``candidate`` in the ledger, if its file is the one that would be made now."""
        plain = self.ledger.get(self.identity(candidate))
        if self.kernels == "none":
            return plain
        ours = self.ledger.get(self.identity(candidate, ours=True))
        if ours is not None or plain is None:
            return ours
        # Without zeros there is nothing that the kernels could gain from.
        zeros = plain.footprint.detail.get("zero_share", 1.0)
        same = plain.kernels == self.kernels or zeros < _ZEROS
        return plain if same else None

    def identity(self, candidate: Candidate, ours: bool = False) -> str:
        """The id of the point of ``candidate``: the recipe's key, or, where its file runs on the sparse kernels, one
        made of it."""
        key = candidate.key(self.task)
        return hashlib.sha256(f"{key} kernels".encode()).hexdigest()[:16] if ours else key

    def __call__(self, candidate: Candidate) -> Point:
        kept = self.kept(candidate)
        if kept is not None and not accident(kept):
            return kept
        start = time.perf_counter()
        try:
            return self.demand(candidate)
        except StoreError:
            raise
        except Exception as error:
            told = str(error) if isinstance(error, FlyweightError) else f"{type(error).__name__}: {error}"
            failed = Point(
                id=self.identity(candidate),
                kernels=self.kernels,
                label=candidate.label,
                recipe=to_json(candidate.recipe),
                failure=told,
                seconds=_since(start),
                baseline=candidate.baseline,
            )
            return self.ledger.keep(failed)

    def demand(self, candidate: Candidate) -> Point:
        """The point of a ``candidate`` that has to work, such as the baseline: its error is raised and not kept."""
        kept = self.kept(candidate)
        if kept is not None and kept.failure is None:
            return kept
        start = time.perf_counter()
        try:
            point = self.make(candidate)
        except Exception as error:
            self._blame_disk(error)
            raise
        return self.ledger.keep(dataclasses.replace(point, seconds=_since(start)))

    def make(self, candidate: Candidate) -> Point:
        """The candidate's point, made anew; raises what goes wrong, and keeps nothing but the steps and the file."""
        with noted() as told:
            model = run(candidate.recipe, self.task.model, self.task, self.store).eval()
            artifact, parity = self._export(model, candidate)
            session = open_artifact(artifact.path, self.runtime, self.threads)
            quality = score(session, self.task, "select")
        return Point(
            id=self.identity(candidate, ours=bool(artifact.needs)),
            label=candidate.label,
            recipe=to_json(candidate.recipe),
            path=artifact.path.relative_to(self.store.folder).as_posix(),
            format=artifact.format,
            bits=artifact.bits,
            quality=quality,
            footprint=self.footprint(artifact.path),
            parity=parity,
            notes=(*dict.fromkeys(told), *artifact.notes),
            baseline=candidate.baseline,
            kernels=self.kernels,
            needs=artifact.needs,
        )

    def footprint(self, path: Path) -> Footprint:
        """What the artifact at ``path`` costs, its latency interleaved with the baseline's."""
        return self.footprints([path])[0]

    def footprints(
        self, paths: list[Path], seconds: float = _BRIEF, upto: Depth = "memory", within: float | None = None
    ) -> list[Footprint]:
        """What the artifacts cost, every latency interleaved with the others' and the baseline's, ``seconds`` each.

        ``upto`` and ``within`` are those of :func:`~flyweight.measure.footprint.footprints`.
        """
        with self._alone():
            return footprints(
                paths,
                runtime=runtime_name(self.runtime),
                baseline=self.baseline,
                threads=self.threads,
                seconds=seconds,
                meter=self.meter,
                inputs=[t[:1].numpy() for t in self.task.example],
                upto=upto,
                within=within,
            )

    def _export(self, model: nn.Module, candidate: Candidate) -> tuple[Artifact, dict[str, Any]]:
        """The file that the point is measured on; one that runs on the sparse kernels, with the plain one beside it."""
        plain = self._place(candidate, ours=False)
        if self.kernels == "none":
            return self._written(model, plain, "none")
        path = self._place(candidate, ours=True)
        artifact, parity = self._written(model, path, self.kernels)
        if artifact.needs:
            self._written(model, path.with_suffix(".plain.onnx"), "none")
            return artifact, parity
        path.replace(plain)
        return dataclasses.replace(artifact, path=plain), parity

    def _place(self, candidate: Candidate, ours: bool) -> Path:
        return self.store.folder / "models" / f"{_slug(candidate.label)}-{self.identity(candidate, ours)[:6]}.onnx"

    def _written(self, model: nn.Module, path: Path, kernels: str) -> tuple[Artifact, dict[str, Any]]:
        with atomic_path(path) as temporary:
            artifact = export_onnx(model, self.task, temporary, kernels=kernels)
            parity = check_parity(model, artifact, self.task, runtime=self.runtime)
        return dataclasses.replace(artifact, path=path), parity

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # Two workers that measure at once would measure each other.
        with (self.store.folder / "measuring.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _blame_disk(self, error: BaseException) -> None:
        folder = self.store.folder
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG):
                raise store_error(folder, cause) from error
            cause = cause.__cause__ or cause.__context__
        # Libraries in C++ tell a full disk in their own words, without an errno.
        if shutil.disk_usage(folder).free < _FULL:
            raise store_error(folder, OSError(errno.ENOSPC, "no space left")) from error


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 3)


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", label.lower()).strip("-") or "model"
