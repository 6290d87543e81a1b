"""Every family of models, shrunk at 10 to 90 %: it computes what the masked one does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import coupled_nets
from flyweight.models.convnext import convnext
from flyweight.models.densenet import densenet
from flyweight.models.lstm import lstm
from flyweight.models.minilm import minilm
from flyweight.models.mobilenet_v2 import mobilenet_v2
from flyweight.models.resnet import resnet
from flyweight.models.se_resnet import se_resnet
from flyweight.models.unet import unet
from flyweight.models.vgg import vgg
from flyweight.models.vit import vit
from flyweight.models.wide_resnet import wide_resnet
from flyweight.surgery.couple.couple import couple
from flyweight.surgery.couple.remove import remove_

Make = Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]


def _image(model: nn.Module) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return model, (torch.randn(2, 1, 16, 16),)


def _bert(attention: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    pytest.importorskip("transformers")
    real = torch.ones(2, 7, dtype=torch.int64)
    real[1, 4:] = 0
    return minilm(2, 2, 24, 4, 50, attention=attention), (torch.arange(14).view(2, 7), real)


def _llama(attention: str, heads: int, pairs: int) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return coupled_nets.llama(attention, heads, pairs), (torch.randint(40, (2, 7)),)


ZOO: dict[str, Make] = {
    "vgg": lambda: _image(vgg(11, 0.125)),
    "resnet": lambda: _image(resnet(14, 0.5)),
    "wide_resnet": lambda: _image(wide_resnet(10, 0.5)),
    "mobilenet_v2": lambda: _image(mobilenet_v2(0.125, 0.3, classes=10, channels=1, stride=4)),
    "densenet": lambda: _image(densenet(16, 0.5)),
    "unet": lambda: _image(unet(2, 0.125)),
    "se_resnet": lambda: _image(se_resnet(8, 0.5, reduction=4)),
    "convnext": lambda: _image(convnext(0.125, (1, 1, 1, 1), 10, 1, 2)),
    "vit": lambda: _image(vit(0.25, 2, 3, 10, 1, 16, patch=4)),
    "bert": lambda: _bert("eager"),
    "bert-sdpa": lambda: _bert("sdpa"),
    # Two key/value heads of two query heads each: whoever sets a size by its number alone takes one for the other.
    "llama": lambda: _llama("eager", 4, 2),
    "llama-sdpa": lambda: _llama("sdpa", 8, 4),
    "llama-one": lambda: _llama("sdpa", 4, 1),
    "lstm": lambda: (lstm(2, 0.125, 10, 16), (torch.randn(2, 8, 16),)),
}
GROUPS = {
    "lstm": 0,
    "vit": 4,
    "bert": 4,
    "bert-sdpa": 4,
    "llama": 4,
    "llama-sdpa": 4,
    "llama-one": 4,
    "convnext": 4,
    "resnet": 9,
    "wide_resnet": 7,
    "vgg": 8,
}


SLOW = ("bert-sdpa", "densenet", "wide_resnet", "llama-sdpa", "llama-one")


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in ZOO])
def test_the_smaller_model_computes_what_the_masked_one_does(name: str) -> None:
    model, example = ZOO[name]()
    model = coupled_nets.lively(model.double())
    example = tuple(t.double() if t.is_floating_point() else t for t in example)
    coupling = couple(model, example)
    assert len(coupling.groups) == GROUPS.get(name, len(coupling.groups))
    assert set(coupling.refused) or name == "unet"
    if name == "lstm":
        assert "lstm of layer 'lstm' is not known to the trace" in coupling.refused["lstm"]
        return
    start = {n: t.clone() for n, t in model.state_dict().items()}
    sizes = []
    for ratio in (0.1, 0.5, 0.9):
        model, _ = ZOO[name]()
        model = model.double().eval()
        model.load_state_dict(start)
        dropped = coupled_nets.silence(model, coupling, ratio, int(100 * ratio))
        wanted = coupled_nets.outputs(model, example)
        model = remove_(model, coupling, dropped, example)
        for a, b in zip(wanted, coupled_nets.outputs(model, example), strict=True):
            assert a.shape == b.shape and (a - b).abs().max() <= 1e-9 * a.abs().max()
        sizes.append(sum(p.numel() for p in model.parameters()))
    assert sizes[0] > sizes[1] > sizes[2]
