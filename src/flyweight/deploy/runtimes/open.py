"""Opening an artifact in a runtime by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.core.artifact import Artifact
from flyweight.core.errors import unknown_name

if TYPE_CHECKING:
    from flyweight.measure.session import Runtime, Session

RUNTIMES = {
    "onnxruntime": "flyweight.deploy.runtimes.onnxruntime:open_session",
    "openvino": "flyweight.deploy.runtimes.openvino:open_session",
}
"""The runtimes that come with flyweight, each by the dotted name under which a fresh process finds it."""


def runtime_name(runtime: str) -> str:
    """``runtime`` as ``module:function``, which is also how a runtime of your own is named.

    >>> runtime_name("onnxruntime")
    'flyweight.deploy.runtimes.onnxruntime:open_session'
    """
    if ":" in runtime:
        return runtime
    if runtime not in RUNTIMES:
        raise unknown_name("runtime", runtime, RUNTIMES)
    return RUNTIMES[runtime]


def open_artifact(artifact: Artifact | Path | str, runtime: str = "onnxruntime", threads: int = 1) -> Session:
    """Opens ``artifact``, which is then called on numpy arrays and returns a tuple of them.

    Raises :class:`UnknownNameError`, :class:`MissingExtraError`, or :class:`ArtifactError` for a file that is damaged.
    """
    path = Path(artifact.path if isinstance(artifact, Artifact) else artifact)
    module, _, name = runtime_name(runtime).partition(":")
    open_session: Runtime = getattr(importlib.import_module(module), name)
    return open_session(path, threads=threads)
