"""The quality of a model that has just been trained, on the device that trained it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def scored(model: Any, task: Any, splits: Sequence[str], size: int, device: str = "auto") -> dict[str, float]:
    """``task``'s quality on each of ``splits``, in batches of ``size``; ``model`` stays on the device, in eval mode."""
    import torch

    from flyweight.core.task import batches
    from flyweight.learn.hardware import chosen_device

    place = chosen_device(device)
    model.to(place).eval()

    def forward(*inputs: Any) -> Any:
        with torch.no_grad():
            return model(*(x.to(place) for x in inputs)).cpu()

    return {split: float(task.quality(forward, batches(getattr(task.data, split), size))) for split in splits}
