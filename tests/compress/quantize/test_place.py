import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.quantize import Quantize
from flyweight.surgery.activation import Requantize


class Gate(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.a, self.b = nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.b(F.relu(self.a(x.mean((2, 3), keepdim=True)))))


class Graph(nn.Module):
    """Residual, gated, concatenated, pooled, with an operation in between that integer kernels do not know."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.one = nn.Conv2d(4, 4, 3, padding=1)
        self.gate = Gate(4)
        self.deep = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.stem(x))), 2)
        y = F.relu(self.one(x) + x)
        y = self.gate(y)
        z = F.gelu(self.deep(y))
        y = torch.cat([y, z], 1)
        return self.head(y.mean((2, 3)).reshape(x.size(0), -1))


def quantized(model, task, example, **fields):
    data = dataclasses.replace(task.data, calibrate=TensorDataset(example, torch.zeros(len(example))))
    return Quantize(**fields)(model, dataclasses.replace(task, data=data, example=(example[:2],)))


def edges(graph):
    """For every node: which grid it is put on, as ``producer -> grid``, in order."""
    kinds = dict(graph.named_modules())
    return [
        (str(n.args[0]), str(n.target), bool(n.kwargs))
        for n in graph.graph.nodes
        if n.op == "call_module" and isinstance(kinds[n.target], Requantize)
    ]


def test_the_rule_on_a_graph_with_everything(tiny_task):
    graph = quantized(Graph(), tiny_task, torch.randn(16, 1, 8, 8))
    assert edges(graph) == [
        ("x", "x_grid", False),
        ("relu", "stem_grid", False),  # after the ReLU, not between it and the convolution
        ("max_pool2d", "stem_grid", True),  # the same grid again
        ("one", "one_grid", False),
        ("relu_1", "add_grid", False),  # after the ReLU of the sum
        ("mean", "mean_grid", False),
        ("relu_2", "gate_a_grid", False),
        ("gate_b", "gate_b_grid", False),
        ("sigmoid", "sigmoid_grid", False),  # it is float, and an operand of the product
        ("mul", "mul_grid", False),
        ("deep", "deep_grid", False),
        ("gelu", "gelu_grid", False),
        ("cat", "cat_grid", False),
        ("mean_1", "mean_1_grid", False),
        ("reshape", "mean_1_grid", True),
        ("head", "head_grid", False),
    ]
    sources = {n: m.source for n, m in graph.named_modules() if hasattr(m, "source")}
    assert sources["stem"] is graph.x_grid
    assert sources["one"] is graph.stem_grid
    assert sources["gate.a"] is graph.mean_grid
    assert sources["deep"] is graph.mul_grid
    assert sources["head"] is graph.mean_1_grid


class Sums(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.offset = nn.Parameter(torch.randn(4))

    def forward(self, x, y):
        x = torch.tanh(x) + y  # two floats: left alone
        x = self.one(x) + self.offset  # a parameter: left alone
        return torch.softmax(self.two(x) + 1.0, 1)  # so is a number


def test_sums_of_other_things_stay_float(tiny_task):
    example = (torch.randn(8, 4), torch.randn(8, 4))
    task = dataclasses.replace(
        tiny_task,
        example=example,
        data=dataclasses.replace(tiny_task.data, calibrate=TensorDataset(*example, torch.zeros(8))),
    )
    graph = Quantize()(Sums(), task)
    names = [(a, b) for a, b, _ in edges(graph)]
    assert names == [("add", "add_grid"), ("one", "one_grid"), ("add_1", "add_1_grid"), ("two", "two_grid")]


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Linear(4, 4)

    def forward(self, x):
        return self.one(F.relu(self.one(x)))


def test_a_layer_that_is_called_twice_has_one_input_grid(tiny_task):
    graph = quantized(Twice(), tiny_task, torch.randn(8, 4))
    assert [(a, b) for a, b, _ in edges(graph)].count(("x", "one_input_grid")) == 1
    assert len([e for e in edges(graph) if e[1] == "one_input_grid"]) == 2
    assert graph.one.source is graph.one_input_grid


class Tapped(nn.Module):
    """The convolution is read by its ReLU and by a sum."""

    def __init__(self):
        super().__init__()
        self.one = nn.Conv2d(1, 2, 1)

    def forward(self, x):
        x = self.one(x)
        return F.relu(x) + x


def test_a_layer_read_beside_its_relu_is_rounded_before_it(tiny_task):
    graph = quantized(Tapped(), tiny_task, torch.randn(8, 1, 4, 4))
    assert [e for e in edges(graph) if e[0] in ("one", "relu")] == [
        ("one", "one_grid", False),
        ("relu", "one_grid", True),
    ]


@pytest.mark.parametrize("exclude", [("one",), ("gate",), ("gate.*",)])
def test_excluded_modules_stay_float_and_their_outputs_are_rounded_where_integers_read_them(tiny_task, exclude):
    graph = quantized(Graph(), tiny_task, torch.randn(16, 1, 8, 8), exclude=exclude)
    floats = [n for n, m in graph.named_modules() if isinstance(m, nn.Conv2d) and not n.endswith(".layer")]
    assert floats == {"one": ["one"], "gate": ["gate.a", "gate.b"], "gate.*": ["gate.a", "gate.b"]}[exclude[0]]


class Keywords(Graph):
    """The same network, every argument by its name."""

    def forward(self, x):
        x = F.max_pool2d(input=F.relu(input=self.norm(input=self.stem(input=x))), kernel_size=2)
        y = F.relu(input=torch.add(input=self.one(input=x), other=x))
        gate = F.relu(input=self.gate.a(input=torch.mean(input=y, dim=(2, 3), keepdim=True)))
        y = y.mul(other=torch.sigmoid(input=self.gate.b(input=gate)))
        z = F.gelu(input=self.deep(input=y))
        y = torch.cat(tensors=[y, z], dim=1)
        return self.head(input=torch.reshape(input=torch.mean(input=y, dim=(2, 3)), shape=(x.size(0), -1)))


@pytest.mark.parametrize("fields", [{}, {"aware": Aware()}], ids=["after", "aware"])
def test_keyword_arguments_change_nothing(tiny_task, fields):
    plain, named, example = Graph(), Keywords(), torch.randn(16, 1, 8, 8)
    named.load_state_dict(plain.state_dict())
    one = quantized(plain.eval(), tiny_task, example, **fields)
    two = quantized(named.eval(), tiny_task, example, **fields)
    assert sorted(e[2] for e in edges(one)) == sorted(e[2] for e in edges(two))
    assert torch.equal(one(example), two(example))


class CalledTwiceByName(Twice):
    def forward(self, x):
        return self.one(input=F.relu(self.one(input=x)))


def test_a_layer_called_twice_by_keyword_has_one_input_grid(tiny_task):
    graph = quantized(CalledTwiceByName(), tiny_task, torch.randn(8, 4))
    assert len([e for e in edges(graph) if e[1] == "one_input_grid"]) == 2
