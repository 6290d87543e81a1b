"""Small networks of every make, on which removal is held to what the masked model computes; two examples each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from flyweight.surgery.coupling import Coupling

IMAGE = (2, 3, 8, 8)


class Logits(nn.Module):
    """A causal language model of transformers as a function of token numbers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids=tokens, use_cache=False).logits
        return logits


def llama(attention: str, heads: int, pairs: int, size: int = 8) -> Logits:
    """A Llama of two layers and ``heads`` query heads of ``size`` on ``pairs`` key/value heads."""
    pytest.importorskip("transformers")
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        head_dim=size,
        num_attention_heads=heads,
        num_key_value_heads=pairs,
        max_position_embeddings=32,
    )
    config._attn_implementation = attention
    return Logits(LlamaForCausalLM(config).eval())


class Flat(nn.Sequential):
    """Biases, padding and batch-norm's shift before a flatten."""

    def __init__(self) -> None:
        super().__init__(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 8, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(8), nn.PReLU(8)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10), nn.BatchNorm1d(10), nn.SiLU()),
            *(nn.Dropout(0.1), nn.Linear(10, 4)),
        )


class Residual(nn.Module):
    """A projection shortcut, an identity shortcut added in place, a module that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.one = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.BatchNorm2d(8))
        self.short = nn.Conv2d(6, 8, 1, 2)
        self.twice = nn.Sequential(nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.stem(x))
        x = F.relu(self.one(x) + self.short(x))
        y = self.twice(self.twice(x))
        y += x
        return self.head(y.mean((2, 3)))


class PaddedShortcut(nn.Module):
    """ResNet's shortcut without parameters: every other pixel, channels filled up with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 8, 3, 2, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        y = self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.head(y.relu().mean((-1, -2)))


class Dense(nn.Module):
    """Concatenations of concatenations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(4 + 3 * i), nn.ReLU(), nn.Conv2d(4 + 3 * i, 3, 3, padding=1)) for i in range(3)
        )
        self.head = nn.Linear(13 * 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.stem(x)]
        for layer in self.layers:
            parts.append(layer(torch.cat(parts, 1)))
        return self.head(F.adaptive_max_pool2d(torch.cat(parts, 1), 2).flatten(1))


class Inverted(nn.Module):
    """A depthwise convolution under ReLU6, one of two outputs a channel, a transposed one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.expand = nn.Sequential(nn.Conv2d(4, 12, 1, bias=False), nn.BatchNorm2d(12), nn.ReLU6())
        self.depth = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12), nn.Hardswish())
        self.project = nn.Conv2d(12, 4, 1)
        self.pairs = nn.Conv2d(4, 8, 3, groups=4)
        self.back = nn.ConvTranspose2d(8, 8, 2, 2, groups=8)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.depth(self.expand(x)))
        return self.head(self.back(self.pairs(x)).relu()).mean((2, 3))


class Grouped(nn.Module):
    """Convolutions in groups, forth and back, and a group-norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.conv = nn.Conv2d(8, 16, 3, groups=4)
        self.norm = nn.GroupNorm(4, 16)
        self.each = nn.GroupNorm(16, 16, affine=False)
        self.back = nn.ConvTranspose2d(16, 8, 3, groups=4)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.each(self.norm(self.conv(self.stem(x).relu())))
        return self.head(self.back(x.relu()).relu()).mean((2, 3))


class Shuffle(nn.Module):
    """ShuffleNet's unit: half of the channels pass, then channels of both halves take turns."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.branch = nn.Sequential(nn.Conv2d(6, 6, 1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1, groups=6))
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = self.stem(x).relu().chunk(2, 1)
        x = torch.cat([kept, self.branch(changed)], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.head(x).amax((2, 3))


class Excite(nn.Module):
    """Squeeze and excitation, and a gate over space, which channels do not carry."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.place = nn.Conv2d(8, 1, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).relu()
        gate = self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()).sigmoid()
        x = x * gate.expand_as(x)
        x = x * self.place(x).sigmoid().expand_as(x)
        return self.head(F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1))


class Shaped(nn.Module):
    """A small U-Net: a skip that is concatenated, a transposed convolution, resizing; returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(6, 8, 3, 2, 1), nn.InstanceNorm2d(8, affine=True), nn.LeakyReLU(0.1))
        self.up = nn.ConvTranspose2d(8, 5, 2, 2)
        self.mix = nn.Conv2d(11, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        skip = self.down(x)
        deep = self.deep(skip)
        x = torch.cat([self.up(deep), skip], dim=1)
        x = F.interpolate(self.mix(x), scale_factor=2, mode="bilinear")
        return {"out": self.head(x), "deep": F.avg_pool2d(deep, 2).sum((1, 2, 3))}


class NeXt(nn.Module):
    """ConvNeXt's block: layer-norm over channels, layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 2, 2)
        self.depth = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm = nn.LayerNorm(6)
        self.wide, self.narrow = nn.Linear(6, 12), nn.Linear(12, 6)
        self.gamma = nn.Parameter(torch.rand(6))
        self.scale = nn.Parameter(torch.rand(12))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.gamma * self.narrow(F.gelu(self.wide(y)) * self.scale)
        return self.head((x + y.permute(0, 3, 1, 2)).mean([-2, -1]))


class Attention(nn.Module):
    """ViT's block: fused qkv, a class token, positions; ``heads`` stands in the views."""

    def __init__(self, heads: int = 4, dim: int = 12) -> None:
        super().__init__()
        self.heads = heads
        self.patches = nn.Conv2d(3, dim, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, dim))
        self.places = nn.Parameter(torch.randn(1, 5, dim))
        self.norm = nn.LayerNorm(dim)
        self.qkv, self.project = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.head = nn.Linear(dim, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        y = self.qkv(self.norm(x))
        n, t, c = y.shape
        q, k, v = y.reshape(n, t, 3, self.heads, c // 3 // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * 0.5).softmax(-1)
        y = (weights @ v).transpose(1, 2).reshape(n, t, c // 3)
        return self.head((x + self.project(y))[:, 0])


class SharedKeys(nn.Module):
    """Grouped queries: two keys for four queries, rotary positions, a causal mask; a gated feed-forward."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.keys, self.size = 4, 2, 4
        self.words = nn.Embedding(11, 8)
        self.norm = nn.LayerNorm(8)
        self.q, self.k, self.v = nn.Linear(8, 16, bias=False), nn.Linear(8, 8), nn.Linear(8, 8)
        self.o = nn.Linear(16, 8)
        self.gate_up, self.down = nn.Linear(8, 20), nn.Linear(10, 8)
        self.logits = nn.Linear(8, 11, bias=False)
        self.logits.weight = self.words.weight
        angles = torch.outer(torch.arange(6.0), torch.tensor([1.0, 0.1]))
        self.register_buffer("cos", torch.cat([angles, angles], 1).cos())
        self.register_buffer("sin", torch.cat([angles, angles], 1).sin(), persistent=False)
        self.register_buffer("mask", torch.ones(1, 1, 6, 6).tril().bool())

    def turn(self, x: Tensor) -> Tensor:
        half = torch.cat([-x[..., 2:], x[..., :2]], -1)
        return x * self.cos + half * self.sin

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        y = self.norm(x)
        n, t, _ = y.shape
        q = self.turn(self.q(y).view(n, t, self.heads, self.size).transpose(1, 2))
        k = self.turn(self.k(y).view(n, t, self.keys, self.size).transpose(1, 2))
        v = self.v(y).view(n, t, self.keys, self.size).transpose(1, 2)
        k, v = (
            u[:, :, None].expand(n, u.shape[1], 2, t, self.size).reshape(n, 2 * u.shape[1], t, self.size)
            for u in (k, v)
        )
        bias = torch.zeros(n, 1, t, t).masked_fill(~self.mask, float("-inf"))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        x = x + self.o(y.transpose(1, 2).flatten(2))
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.logits(x + self.down(F.silu(gate) * up))


class Windows(nn.Module):
    """Attention in windows with a table of relative positions, by einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.size = 3, 2
        self.stem = nn.Conv2d(3, 6, 2, 2)
        self.q, self.k, self.v, self.o = (nn.Linear(6, 6) for _ in range(4))
        self.table = nn.Parameter(torch.randn(9, 3))
        grid = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        offsets = (grid[:, :, None] - grid[:, None]).permute(1, 2, 0) + 1
        self.register_buffer("offsets", offsets[..., 0] * 3 + offsets[..., 1])
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.roll(self.stem(x), (1, 1), (2, 3)).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        x = x.view(n, h // 2, 2, w // 2, 2, c).transpose(2, 3).reshape(-1, 4, c)
        x = F.layer_norm(x, (c,))
        q, k, v = (layer(x).unflatten(-1, (self.heads, self.size)) for layer in (self.q, self.k, self.v))
        scores = torch.einsum("bnhd,bmhd->bhnm", q, k)
        scores = scores + self.table[self.offsets.view(-1)].view(4, 4, -1).permute(2, 0, 1)[None]
        y = torch.einsum("bhnm,bmhd->bnhd", scores.softmax(-1), v).flatten(2)
        return self.head(self.o(y)).view(n, -1, 4).mean(1)


class Encoder(nn.Module):
    """torch's own encoder layer and a cross attention with keys of another width."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.words = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 4, 12, 0.0, batch_first=batch_first)
        self.cross = nn.MultiheadAttention(8, 2, kdim=6, vdim=6, batch_first=batch_first)
        self.memory = nn.Parameter(torch.randn(2, 6))
        self.head = nn.Linear(8, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens)
        hidden = tokens > 8
        x = x if self.batch_first else x.transpose(0, 1)
        x = self.layer(x, src_key_padding_mask=hidden)
        memory = self.memory.expand(len(tokens), -1, -1)
        memory = memory if self.batch_first else memory.transpose(0, 1)
        return self.head(self.cross(x, memory, memory, need_weights=False)[0])


class Mixer(nn.Module):
    """MLP-Mixer: layers over tokens, then over channels; a batch-norm over features of a sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, 4)
        self.tokens = nn.Sequential(nn.Linear(4, 7), nn.GELU(), nn.Linear(7, 4))
        self.norm = nn.BatchNorm1d(6)
        self.channels = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2)
        x = self.norm(x + self.tokens(x)).transpose(1, 2)
        return self.head((x + self.channels(x)).mean(1))


class Upscale(nn.Module):
    """Pixel shuffle, a linear layer that is shaped into channels, one- and three-dimensional convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = 5
        self.start = nn.Linear(6, 5 * 4)
        self.line = nn.Conv1d(5, 8, 3, padding=1)
        self.wide = nn.Conv2d(8, 12, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.deep = nn.Conv3d(3, 5, (1, 3, 3))
        self.head = nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x).relu().view(-1, self.channels, 4)
        x = self.line(x).unflatten(2, (2, 2))
        x = self.shuffle(self.wide(x)).unsqueeze(2)
        return self.head(self.deep(x).squeeze(2).relu())


class Gated(nn.Module):
    """GLU, maxout, stacked branches, statistics under no_grad, a product of two branches; two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(6, 10), nn.Linear(6, 5)
        self.three, self.mid = nn.Linear(6, 5), nn.Linear(5, 8)
        self.register_buffer("shift", torch.randn(5))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a = F.glu(self.one(x), -1)
        b, c = torch.stack([self.two(y), self.three(x)]).unbind(0)
        with torch.no_grad():
            d = torch.zeros_like(a) + self.shift.abs()
        z = torch.maximum(a * b, c).clamp(min=-1) + d + torch.where(a > 0, b, c)
        return self.head(F.elu(self.mid(z)).flip(-1))


class Recurrent(nn.Module):
    """An LSTM, which stays, between layers that need not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.before = nn.Linear(6, 8), nn.Linear(8, 5)
        self.lstm = nn.LSTM(5, 5, batch_first=True)
        self.after, self.head = nn.Linear(5, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.lstm(self.before(self.first(x[:, None]).relu()))
        return self.head(self.after(y[:, -1]).relu())


def _image() -> tuple[Tensor, ...]:
    return (torch.randn(IMAGE),)


def _tokens() -> tuple[Tensor, ...]:
    return (torch.arange(12).view(2, 6) % 11,)


NETS: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]] = {
    **{
        kind.__name__: (kind, _image)
        for kind in (Flat, Residual, PaddedShortcut, Dense, Inverted, Grouped, Shuffle, Excite, Shaped, NeXt)
    },
    **{kind.__name__: (kind, _image) for kind in (Attention, Windows, Mixer)},
    "SharedKeys": (SharedKeys, _tokens),
    "Encoder": (Encoder, _tokens),
    "EncoderBatchSecond": (lambda: Encoder(False), _tokens),
    "Upscale": (Upscale, lambda: (torch.randn(2, 6),)),
    "Gated": (Gated, lambda: (torch.randn(2, 6), torch.randn(2, 6))),
    "Recurrent": (Recurrent, lambda: (torch.randn(2, 6),)),
}


def lively(model: nn.Module) -> nn.Module:
    """``model`` in evaluation with no scale, shift or statistic at its default."""
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if "running_var" in name or ("norm" in name and name.endswith("weight")):
                tensor.uniform_(0.5, 2)
            elif "running_mean" in name or name.endswith("bias"):
                tensor.normal_()
    return model.eval()


def net(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network ``name`` in float64 and its example."""
    make, example = NETS[name]
    inputs = tuple(t.double() if t.is_floating_point() else t for t in example())
    return lively(make().double()), inputs


def silence(model: nn.Module, coupling: Coupling, ratio: float, seed: int) -> dict[str, Tensor]:
    """Sets to zero what reads a random part of each group's units, and returns which: a model after pruning."""
    chance = torch.Generator().manual_seed(seed)
    dropped = {}
    for group in coupling.groups:
        drop = torch.rand(group.units, generator=chance) < ratio
        drop[torch.randint(group.units, (1,), generator=chance)] = False
        dropped[group.label] = drop
        for at in group.slices:
            if at.role == "input":
                owner, _, leaf = at.name.rpartition(".")
                with torch.no_grad():
                    getattr(model.get_submodule(owner), leaf).index_fill_(at.dim, at.indices[drop].reshape(-1), 0.0)
    return dropped


def outputs(model: nn.Module, example: tuple[Tensor, ...]) -> list[Tensor]:
    """All tensors that ``model`` returns."""
    with torch.no_grad():
        return [t for t in pytree.tree_leaves(model(*example)) if isinstance(t, Tensor)]
