"""Every family of models, small enough for a test of a second, and tasks around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from flyweight.core.task import Splits, Task
from flyweight.models.convnext import convnext
from flyweight.models.densenet import densenet
from flyweight.models.lstm import lstm
from flyweight.models.mobilenet_v2 import mobilenet_v2
from flyweight.models.resnet import resnet
from flyweight.models.se_resnet import se_resnet
from flyweight.models.survey_cnn import survey_cnn
from flyweight.models.unet import unet
from flyweight.models.vgg import vgg
from flyweight.models.vit import vit
from flyweight.models.wide_resnet import wide_resnet
from flyweight.tasks.cross_entropy import cross_entropy

CLASSES = 5


@dataclass(frozen=True)
class Kind:
    """How a family is made: small, wider, deeper and as published, and the shape of one input."""

    small: Callable[[], nn.Module]
    wider: Callable[[], nn.Module]
    deeper: Callable[[], nn.Module]
    full: Callable[[], nn.Module]
    shape: tuple[int, ...]


def _kind(family: Callable[..., nn.Module], shape: tuple[int, ...], small: dict, deeper: dict, **full: object) -> Kind:
    small = {"classes": CLASSES, "channels": shape[0], **small}
    return Kind(
        small=lambda: family(**small),
        wider=lambda: family(**{**small, "width": 2 * small["width"]}),
        deeper=lambda: family(**{**small, **deeper}),
        full=lambda: family(**full),
        shape=shape,
    )


def _wide(width: float = 1.0, **more: object) -> nn.Module:
    return wide_resnet(widen=width, **more)


IMAGE = (2, 16, 16)
KINDS = {
    "survey_cnn": Kind(
        small=lambda: survey_cnn(0.1, CLASSES, 2, 16),
        wider=lambda: survey_cnn(0.2, CLASSES, 2, 16),
        deeper=lambda: survey_cnn(0.3, CLASSES, 2, 16),  # it has one depth
        full=survey_cnn,
        shape=IMAGE,
    ),
    "vgg": _kind(vgg, IMAGE, {"depth": 11, "width": 1 / 16}, {"depth": 13}),
    "resnet": _kind(resnet, IMAGE, {"depth": 8, "width": 0.5}, {"depth": 14}, depth=56),
    "wide_resnet": _kind(_wide, IMAGE, {"depth": 10, "width": 0.5}, {"depth": 16}, depth=22, width=2),
    "se_resnet": _kind(se_resnet, IMAGE, {"depth": 8, "width": 0.5, "reduction": 4}, {"depth": 14}, depth=56),
    "mobilenet_v2": _kind(
        mobilenet_v2, IMAGE, {"depth": 0.5, "width": 0.25, "stride": 4}, {"depth": 1.0}, channels=1, classes=10
    ),
    "densenet": _kind(densenet, IMAGE, {"depth": 16, "width": 0.5}, {"depth": 22}, depth=100),
    "unet": _kind(unet, IMAGE, {"depth": 2, "width": 1 / 8}, {"depth": 3}),
    "convnext": _kind(
        convnext, IMAGE, {"depths": (1, 1), "width": 1 / 8, "patch": 2}, {"depths": (1, 2)}, channels=1, classes=10
    ),
    "vit": _kind(
        vit,
        IMAGE,
        {"depth": 2, "width": 0.25, "heads": 3, "size": 16, "patch": 4},
        {"depth": 3},
        channels=1,
        classes=10,
        size=28,
        patch=4,
    ),
    "lstm": Kind(
        small=lambda: lstm(2, 0.125, CLASSES, 6),
        wider=lambda: lstm(2, 0.25, CLASSES, 6),
        deeper=lambda: lstm(3, 0.125, CLASSES, 6),
        full=lstm,
        shape=(8, 6),
    ),
}


def build(name: str, form: str = "small", seed: int = 0) -> nn.Module:
    """The model, drawn under ``seed``; batch-norms, layer scales and biases hold no round numbers, as once trained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(KINDS[name], form)()
        shake_(model)
    return model.eval()


def shake_(model: nn.Module) -> None:
    """What initialisation leaves at 0 or 1 gets values of its own, so that a test sees what is lost of it."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                # More is above zero than below: a narrow network under ReLU would else say the same of all.
                low, high = (-0.1, 0.5) if name.endswith("bias") else (0.5, 1.5)
                parameter.uniform_(low, high)


def inputs(name: str, count: int = 2, seed: int = 1) -> Tensor:
    """Examples for the small form of ``name``."""
    return torch.randn(count, *KINDS[name].shape, generator=torch.Generator().manual_seed(seed))


def zoo_task(name: str) -> Task:
    """The small model with random inputs and targets of the outputs' kind."""
    return _task(name, build(name), inputs(name, 32))


def full_task(name: str, shape: tuple[int, ...]) -> Task:
    """The model as published, with random inputs of ``shape``."""
    return _task(
        f"{name}-full", build(name, "full"), torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    )


def _task(name: str, model: nn.Module, x: Tensor) -> Task:
    with torch.no_grad():
        shape = model(x).shape
    y = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=torch.Generator().manual_seed(2))
    data = TensorDataset(x, y)
    return Task(
        name=f"zoo-{name}",
        model=model,
        example=(x[:2],),
        data=Splits(train=data, calibrate=data, select=data, report=data),
        loss=cross_entropy,
        quality=correct,
    )


def correct(forward: Callable[..., Tensor], batches: object) -> float:
    """The share of targets, one an image or one a pixel, that the largest output is for."""
    pairs = [(torch.as_tensor(forward(x)).argmax(1), y) for x, y in batches]
    return sum(int((a == y).sum()) for a, y in pairs) / sum(y.numel() for _, y in pairs)
