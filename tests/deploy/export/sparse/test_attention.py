"""Attention and layer normalization are found however a model writes them, and left where somebody reads inside."""

import onnx
import torch
from torch import nn
from torch.nn import functional as F

import sparse_files
from flyweight.deploy.export.onnx import export_onnx
from sparse_nets import token_task

DIM, HEADS = 12, 2


class Attends(nn.Module):
    """x, six features a token, to q, k, v of two heads, to attention, to a linear layer."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, DIM) for _ in range(3))
        self.out = nn.Linear(DIM, 5)

    def heads(self, x):
        return (f(x).unflatten(2, (HEADS, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))

    def joined(self, mixed):
        return self.out(mixed.transpose(1, 2).flatten(2))


class Fused(Attends):
    def forward(self, x):
        return self.joined(F.scaled_dot_product_attention(*self.heads(x)))


class Masked(Attends):
    def forward(self, x):
        q, k, v = self.heads(x)
        mask = (x[:, None, None, :, 0] > 0) * -5.0
        return self.joined(torch.softmax(q @ k.mT / 3 + mask, -1) @ v)


class FusedMasked(Attends):
    def forward(self, x):
        mask = torch.tril(torch.ones(x.shape[1], x.shape[1])).log().clamp(min=-50)
        return self.joined(F.scaled_dot_product_attention(*self.heads(x), attn_mask=mask, scale=0.4))


class Crossed(Attends):
    def forward(self, x):
        q, _, _ = self.heads(x[:, :4])
        _, k, v = self.heads(x[:, 4:])
        return self.joined((q * 0.5 @ k.mT).softmax(-1) @ v)


class Shows(Attends):
    """Gives its weights too."""

    def forward(self, x):
        q, k, v = self.heads(x)
        weights = torch.softmax(q @ k.mT, -1)
        return self.joined(weights @ v), weights


class OtherAxis(Attends):
    def forward(self, x):
        q, k, v = self.heads(x)
        return self.joined(torch.softmax(q @ k.mT, -2) @ v)


class Unturned(Attends):
    """Heads and tokens are not exchanged again."""

    def forward(self, x):
        q, k, v = self.heads(x)
        return (torch.softmax(q @ k.mT, -1) @ v).flatten(2)


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(6, 8)
        self.last, self.plain = nn.LayerNorm(8), nn.LayerNorm(8, bias=False, eps=0.1)
        self.both, self.bare = nn.LayerNorm((9, 8)), nn.LayerNorm(8, elementwise_affine=False)

    def forward(self, x):
        return self.plain(self.both(self.last(self.enter(x)))) + self.bare(x.repeat(1, 1, 2)[..., :8])


class Beside(nn.Module):
    """Several models on one input; their outputs in a row."""

    def __init__(self, *models):
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, x):
        found = [model(x) for model in self.models]
        return tuple(y for part in found for y in (part if isinstance(part, tuple) else (part,)))


def exported(model, tmp_path):
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    model.eval()
    return onnx.load(export_onnx(model, token_task(model), tmp_path / "m.onnx", kernels="all").path)


def agree(proto, model):
    x = torch.randn(3, 9, 6)
    expected = model(x)
    for found, wanted in zip(
        sparse_files.run(proto, x.numpy()), expected if isinstance(expected, tuple) else (expected,), strict=True
    ):
        assert torch.allclose(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-4)


def test_attention_is_one_operation(tmp_path):
    model = Beside(Fused(), Masked(), FusedMasked(), Crossed())
    proto = exported(model, tmp_path)
    assert sparse_files.ops(proto).count("Attention") == 4
    left = {node.op_type for node in proto.graph.node if not node.domain}
    assert not left & {"Softmax", "MatMul", "Transpose", "Reshape", "Concat"}
    agree(proto, model)


def test_what_is_no_such_attention_stays(tmp_path):
    model = Beside(Shows(), OtherAxis(), Unturned())
    proto = exported(model, tmp_path)
    assert "Attention" not in sparse_files.ops(proto)
    agree(proto, model)


def test_norms_over_the_last_axis(tmp_path):
    model = Norms()
    proto = exported(model, tmp_path)
    assert sparse_files.ops(proto).count("LayerNorm") == 3  # all but the one over two axes
    agree(proto, model)
