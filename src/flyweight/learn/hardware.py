"""Where and in what precision a model is trained, and how its memory is laid out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from flyweight.core.errors import FlyweightError, MissingExtraError

PRECISIONS = ("auto", "no", "bf16", "fp16")


def chosen_device(wanted: str) -> torch.device:
    """The device for ``wanted``: ``"auto"`` takes an accelerator where one is present; raises where it is not there."""
    if wanted == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return torch.device("cpu") if found is None else torch.device(found.type)
    device = torch.device(wanted)
    if device.type == "cpu":
        return device
    here = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    count = torch.accelerator.device_count() if here is not None else 0
    if here is None or here.type != device.type or (device.index or 0) >= count:
        seen = f"{count} of {here.type}" if here is not None else "no accelerator"
        raise FlyweightError(
            f"FlyweightError: Fit(device={wanted!r}) finds {seen} here (torch {torch.__version__}). "
            "Use device='auto', or install a torch that drives the device."
        )
    return device


def chosen_precision(wanted: str, device: torch.device, model: nn.Module) -> str:
    """``"no"``, ``"bf16"`` or ``"fp16"``. Auto takes bf16 on GPUs that have it, and on CPUs with AMX or avx512_bf16
    for models with 2-d convolutions, where it was measured to pay; weights and optimizer stay in float32 always."""
    if wanted == "fp16" and device.type != "cuda":
        raise FlyweightError(
            f"FlyweightError: Fit(precision='fp16') needs a CUDA device, and this is {device.type}. "
            "Use 'bf16', or 'auto'."
        )
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if device.type == "cpu" and _has_conv2d(model) and _cpu_has_bf16():
        return "bf16"
    return "no"


def wants_channels_last(model: nn.Module, example: tuple[Tensor, ...], device: torch.device, precision: str) -> bool:
    """Whether channels-last helps: image inputs and 2-d convolutions, on a CPU, or on a GPU in half precision."""
    image = any(t.ndim == 4 and t.is_floating_point() for t in example)
    return image and _has_conv2d(model) and (device.type == "cpu" or (device.type == "cuda" and precision != "no"))


def lay_out(model: nn.Module, channels_last: bool) -> None:
    """Sets the memory of every 4-d tensor of ``model`` to channels-last, or to plain contiguous strides."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for module in model.modules():
        for parameter in module._parameters.values():
            if parameter is not None and parameter.ndim == 4:
                parameter.data = parameter.data.clone(memory_format=layout)
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.ndim == 4:
                module._buffers[name] = buffer.clone(memory_format=layout)


@contextlib.contextmanager
def accelerator(device: torch.device, precision: str) -> Iterator[Any]:
    """An ``accelerate.Accelerator`` of our own, whatever other precision this process has used or uses.

    accelerate keeps its state per process; it is set aside for the block and put back after it.
    """
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState, GradientState, PartialState
    except ImportError as error:
        raise MissingExtraError(
            "MissingExtraError: training needs accelerate, which is not installed. pip install flyweight"
        ) from error
    states = (PartialState, AcceleratorState, GradientState)
    aside = [dict(state._shared_state) for state in states]
    with contextlib.ExitStack() as stack:
        if device.index is not None and device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
        try:
            for state in states:
                state._shared_state.clear()
            yield Accelerator(cpu=device.type == "cpu", mixed_precision=precision)
        finally:
            for state, before in zip(states, aside, strict=True):
                state._shared_state.clear()
                state._shared_state.update(before)


@contextlib.contextmanager
def tuned_kernels(device: torch.device) -> Iterator[None]:
    """Lets cuDNN time its convolutions for the shapes at hand, unless deterministic algorithms were asked for."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda" and not torch.are_deterministic_algorithms_enabled()
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _has_conv2d(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def _cpu_has_bf16() -> bool:
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name)() for name in asked if hasattr(torch.cpu, name))
