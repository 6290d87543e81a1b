"""What goes wrong, said so that the reader can mend it: what, where, what it got, and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FlyweightError(Exception):
    """Any error that flyweight raises on purpose; catch this to catch them all."""


class TaskError(FlyweightError):
    """The task contradicts itself: data that do not fit the example, an empty split, a model that fails."""


class ShapeError(FlyweightError):
    """A tensor or a layer has a shape that the operation cannot take."""


class TrainingError(FlyweightError):
    """Training went wrong: a loss or a weight that is no number; the message names the epoch and the step."""


class MetricError(FlyweightError):
    """The quality function returned something that cannot be compared: NaN, a tensor of many, text."""


class ExportError(FlyweightError):
    """A model could not be turned into a file; the message names the operation."""


class ArtifactError(FlyweightError):
    """A file could not be opened or measured: it is missing, damaged, or needs what the runtime has not."""


class ParityError(FlyweightError):
    """An artifact does not compute what the model computes; the message names the first layer that differs."""


class UnsupportedError(FlyweightError):
    """A technique cannot be applied to this model; the message names the layer and the operation."""


class StoreError(FlyweightError):
    """The output folder cannot be written, is full, or holds something that flyweight did not put there."""


class BudgetError(FlyweightError):
    """A budget cannot be read, names no measured field, or is met by no model."""


class UnknownNameError(FlyweightError):
    """A name that flyweight does not know; the message offers the nearest."""


class KernelsError(FlyweightError):
    """The native kernels are not there or cannot be used, or they refused a layer or a call, in their own words."""


class MissingExtraError(FlyweightError, ImportError):
    """An optional library is not installed; the message says how to install it."""


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> UnknownNameError:
    """The error for ``name``, which is no ``kind``, with the nearest of ``choices`` first.

    >>> str(unknown_name("task", "fashion-mni", ["fashion-mini", "fashion"]))
    "UnknownNameError: there is no task 'fashion-mni'. Did you mean 'fashion-mini'? Known: fashion, fashion-mini."
    """
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownNameError(
        f"UnknownNameError: there is no {kind} {name!r}.{hint} Known: {', '.join(known) or 'none'}."
    )
