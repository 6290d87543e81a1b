"""Opening an artifact in a runtime by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.core.artifact import Artifact
from flyweight.core.errors import ArtifactError, FlyweightError, UnknownNameError, unknown_name

if TYPE_CHECKING:
    from flyweight.measure.session import Runtime, Session

RUNTIMES = {
    "onnxruntime": "flyweight.deploy.runtimes.onnxruntime:open_session",
    "openvino": "flyweight.deploy.runtimes.openvino:open_session",
}
"""The runtimes that come with flyweight, each by the dotted name under which a fresh process finds it."""


def runtime_name(runtime: str) -> str:
    """``runtime`` as ``module:function``, which is also how a runtime of your own is named.

    Raises :class:`UnknownNameError` where there is no such runtime, module or function.

    >>> runtime_name("onnxruntime")
    'flyweight.deploy.runtimes.onnxruntime:open_session'
    """
    if ":" in runtime:
        _function(runtime)
        return runtime
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    return RUNTIMES[runtime]


def open_artifact(artifact: Artifact | Path | str, runtime: str = "onnxruntime", threads: int = 1) -> Session:
    """Opens ``artifact``, which is then called on numpy arrays and returns a tuple of them.

    Raises :class:`UnknownNameError`, :class:`MissingExtraError`, or :class:`ArtifactError` for a file that is damaged
    and for fewer threads than one.
    """
    if threads < 1:
        raise ArtifactError(f"ArtifactError: no file can be opened with threads={threads}. Give 1 or more.")
    path = Path(artifact.path if isinstance(artifact, Artifact) else artifact)
    return _function(runtime_name(runtime))(path, threads=threads)


def _function(runtime: str) -> Runtime:
    module, _, name = runtime.partition(":")
    try:
        found: Runtime | None = getattr(importlib.import_module(module), name, None)
    except FlyweightError:
        raise
    except Exception as error:  # a module of the user's own may fail in any way
        raise UnknownNameError(
            f"UnknownNameError: the runtime {runtime!r} cannot be imported: {type(error).__name__}: {error}. Name it "
            f"module:function, of a module on PYTHONPATH; or take one of {', '.join(RUNTIMES)}."
        ) from error
    if not callable(found):
        raise UnknownNameError(
            f"UnknownNameError: the runtime {runtime!r} is none: the module {module!r} has no function {name!r}. It "
            "has to be one that takes a path and threads=, and returns an open session."
        )
    return found
