"""The networks of pruning_coverage.py: flyweight's families, and the tests' small ones, each hard to couple.

None is trained. With each stands what Torch-Pruning's README asks to be told of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Net:
    """A network, its example, and what Torch-Pruning has to be told: outputs, heads, numbers to set anew."""

    model: Any
    example: tuple[Any, ...]
    outputs: tuple[str, ...] = ("head",)
    heads: dict[str, int] = field(default_factory=dict)
    after: Callable[[Any], None] | None = None


ZOO = (
    *("VGG-19-BN", "ResNet-20", "ResNet-56", "WRN-22-2", "SE-ResNet-20", "DenseNet-BC-40", "MobileNetV2", "U-Net"),
    *("ConvNeXt", "ViT", "MiniLM (BERT)", "LSTM"),
)


def zoo(name: str, small: bool) -> Net:
    """One of the families; the small ones take seconds."""
    import torch

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

    w, mnist = (0.25 if small else 1.0), (1, 28, 28)
    if name == "MiniLM (BERT)":
        layers, hidden, words = (2, 96, 500) if small else (6, 384, 30522)
        model = minilm(layers=layers, hidden=hidden, heads=12, vocabulary=words)
        tokens = torch.randint(0, words, (2, 64))
        heads = {
            f"bert.encoder.layer.{i}.attention.self.{p}": 12 for i in range(layers) for p in ("query", "key", "value")
        }
        return Net(_shaken(model, lambda: (tokens,)), (tokens, torch.ones_like(tokens)), ("head",), heads, _bert)
    if name == "ViT":
        depth = 2 if small else 6
        model = vit(0.5 if small else 2.0, depth, 6, 10, 3, 64, 8)
        heads = {f"blocks.{i}.attention.qkv": 6 for i in range(depth)}
        return _images(model, (3, 64, 64), heads=heads)
    made: dict[str, Callable[[], Net]] = {
        "VGG-19-BN": lambda: _images(vgg(19, w), mnist, outputs=None),
        "ResNet-20": lambda: _images(resnet(8 if small else 20), mnist),
        "ResNet-56": lambda: _images(resnet(14 if small else 56), mnist),
        "WRN-22-2": lambda: _images(wide_resnet(10 if small else 22), mnist),
        "SE-ResNet-20": lambda: _images(se_resnet(8 if small else 20), mnist),
        "DenseNet-BC-40": lambda: _images(densenet(16 if small else 40), mnist),
        "MobileNetV2": lambda: _images(mobilenet_v2(w), (3, 64, 64) if small else (3, 224, 224)),
        "U-Net": lambda: _images(unet(2 if small else 4, 0.25), (1, 64, 64)),
        "ConvNeXt": lambda: _images(convnext(w, (1, 1) if small else (3, 3, 9, 3), 10, 3, 2), (3, 32, 32)),
        "LSTM": lambda: _images(lstm(2, w), (28, 28)),
    }
    return made[name]()


def _images(model: Any, shape: tuple[int, ...], outputs: Any = ("head",), heads: Any = None) -> Net:
    import torch
    from torch import nn

    if outputs is None or not hasattr(model, outputs[0]):
        outputs = ([name for name, m in model.named_modules() if isinstance(m, nn.Linear)][-1],)
    model = _shaken(model, lambda: (torch.randn(4, *shape),))
    return Net(model, (torch.randn(2, *shape),), outputs, heads or {})


def _shaken(model: Any, batch: Callable[[], tuple[Any, ...]]) -> Any:
    """No scale or shift at its default, and batch-norms that know their inputs: else signals fade into denormal
    numbers, which are slow, or a lost shift would not be seen."""
    import torch
    from torch import nn

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
        norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if norms:
            model.train()
            for norm in norms:
                norm.momentum = None  # the mean of all batches
            for _ in range(3):
                model(*batch())
            for norm in norms:
                norm.momentum = 0.1
    return model.eval()


def _bert(model: Any) -> None:
    for name, _ in list(model.named_modules()):
        if name.endswith(".query"):
            attention = model.get_submodule(name.removesuffix(".query"))
            attention.all_head_size = attention.query.out_features
            attention.num_attention_heads = attention.all_head_size // attention.attention_head_size


def small_net(name: str) -> Net:
    """One of the tests' networks, each with what is hard about coupling; what Torch-Pruning must know of it, told."""
    from coupled_nets import net

    model, example = net(name)
    model, example = model.float(), tuple(t.float() if t.is_floating_point() else t for t in example)
    outputs, heads, after = ("head",), {}, None
    if name == "Flat":
        outputs = (str(len(model) - 1),)
    elif name == "Attention":
        heads = {"qkv": model.heads}

        def after(smaller: Any) -> None:
            smaller.heads = smaller.qkv.out_features // 9

    elif name == "SharedKeys":
        outputs, heads = ("logits",), {"q": model.heads, "k": model.keys, "v": model.keys}

        def after(smaller: Any) -> None:
            smaller.heads, smaller.keys = (layer.out_features // smaller.size for layer in (smaller.q, smaller.k))

    elif name == "Windows":
        heads = dict.fromkeys("qkv", model.heads)

        def after(smaller: Any) -> None:
            smaller.heads = smaller.q.out_features // smaller.size

    elif name == "Upscale":

        def after(smaller: Any) -> None:
            smaller.channels = smaller.line.in_channels

    return Net(model, example, outputs, heads, after)
