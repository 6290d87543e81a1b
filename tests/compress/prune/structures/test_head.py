import torch
from torch import nn
from torch.nn import functional as F

from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.structures.channel import channel
from flyweight.compress.prune.structures.head import head
from nets import plain_task


class Attention(nn.Module):
    """Four heads of two, written out."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.query, self.key, self.value, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.up, self.down = nn.Linear(8, 12), nn.Linear(12, 8)

    def forward(self, x):
        x = self.stem(x)
        q, k, v = (f(x).unflatten(-1, (-1, 2)).transpose(1, 2) for f in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(x)))


def test_heads_go_whole_and_say_nothing_any_more():
    torch.manual_seed(0)
    model = Attention().eval()
    task = plain_task(model, torch.zeros(2, 3, 6))
    pruned = Prune(0.5, structure=head())(model, task)
    dead = (pruned.out.weight == 0).all(0).reshape(4, 2)
    assert dead.all(1).sum() == 2
    assert torch.equal(dead.all(1), dead.any(1))
    for layer in (pruned.query, pruned.key, pruned.value):
        assert torch.equal((layer.weight == 0).all(1), dead.reshape(-1))
        assert torch.equal(layer.bias == 0, dead.reshape(-1))
    x = torch.randn(2, 3, 6)
    stem = model.stem(x)
    heads = [f(stem).unflatten(-1, (4, 2)).transpose(1, 2) for f in (model.query, model.key, model.value)]
    y = F.scaled_dot_product_attention(*(h[:, ~dead.all(1)] for h in heads)).transpose(1, 2).flatten(2)
    y = stem + F.linear(y, model.out.weight[:, ~dead.reshape(-1)], model.out.bias)
    assert torch.allclose(pruned(x), y + model.down(F.gelu(model.up(y))), atol=1e-5)


def test_neurons_are_channels():
    torch.manual_seed(0)
    model = Attention().eval()
    pruned = Prune(0.5, structure=channel())(model, plain_task(model, torch.zeros(2, 3, 6)))
    assert int((pruned.up.bias == 0).sum()) == 6
    assert torch.equal((pruned.down.weight == 0).all(0), pruned.up.bias == 0)
