import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import tiny
from flyweight.compress.prune.prune import Prune
from flyweight.compress.prune.remove import Remove
from flyweight.compress.prune.schedules.cubic import cubic
from flyweight.compress.prune.schedules.iterative import iterative
from flyweight.compress.prune.scores.activation import activation
from flyweight.compress.prune.scores.magnitude import magnitude
from flyweight.compress.prune.scores.obd import obd
from flyweight.compress.prune.scores.taylor import taylor
from flyweight.compress.prune.structures.layer import layer
from flyweight.compress.quantize.quantize import Quantize
from flyweight.core.errors import UnsupportedError
from flyweight.core.recipe import replay, run
from flyweight.core.weights import restore
from flyweight.learn.fit import Fit
from flyweight.learn.optimizers import adam
from flyweight.learn.train import Train
from flyweight.surgery.skip import Skip
from flyweight.testing.check_step import check_step
from nets import plain_task


class Normed(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.norm(x)


class Block(nn.Module):
    def __init__(self, channels):
        super().__init__()
        # Of the input's shape too, but no layer that anyone means: a wrapped norm, and a convolution with its norm.
        self.body = nn.Sequential(
            Normed(channels),
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)),
            nn.ReLU(),
        )

    def forward(self, x):
        return F.relu(x + self.body(x))


def network():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Sequential(*(Block(8) for _ in range(4)))),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, tiny.CLASSES)),
    )


@pytest.fixture(scope="module")
def task():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dataclasses.replace(tiny.task(), model=tiny.taught(network(), 3), family=None)


def skips(model):
    return {name: module.kept for name, module in model.named_modules() if isinstance(module, Skip)}


def test_residual_blocks_are_found_and_the_least_are_passed_by(task):
    with torch.no_grad():
        task.model[2][1].body[1][0].weight.mul_(0.01)
        task.model[2][3].body[1][0].weight.mul_(0.01)
    pruned = Prune(0.5, structure=layer())(task.model, task)
    assert skips(pruned) == {"2.0": True, "2.1": False, "2.2": True, "2.3": False}
    x = task.data.select.tensors[0]
    left = nn.Sequential(*(part for name, part in task.model[2].named_children() if name in "02"))
    plain = nn.Sequential(task.model[0], nn.ReLU(), left, *task.model[3:])
    assert torch.equal(pruned(x), plain(x))


@pytest.mark.parametrize("score", [magnitude(), activation(), obd()], ids=lambda s: type(s).__name__)
def test_rounds_go_on_where_layers_are_passed_by_already(task, score):
    train = Train(epochs=1, optimizer=adam(lr=1e-3))
    pruned = Prune(0.75, score, layer(), schedule=iterative(3, train))(task.model, task)
    assert sum(skips(pruned).values()) == 1
    again = run((Prune(0.25, score, layer()), Prune(0.5, score, layer())), task.model, task)
    assert sum(skips(again).values()) == 2


def test_a_traced_graph_has_no_layers_any_more(task):
    with pytest.raises(UnsupportedError, match=r"in a traced graph, .*Take Prune\(structure=layer\(\)\) before"):
        run((Quantize(), Prune(0.5, structure=layer())), task.model, task)


def test_the_contract(task):
    step = Prune(0.75, taylor(), layer(("2.*",)))
    check_step(step, task, identity=dataclasses.replace(step, ratio=0.0), promises="macs")


def test_what_follows_traces_the_layers_that_are_kept(task):
    check_step(Quantize(), task, after=(Prune(0.5, structure=layer()),))


def test_in_training(task):
    step = Prune(0.5, structure=layer(), schedule=cubic(every=0.2))
    check_step(Train(epochs=1), task, after=(step,))
    trained = run([step, Train(epochs=1)], task.model, task)
    assert list(skips(trained).values()).count(False) == 2
    with pytest.raises(UnsupportedError, match="a training has yet to decide whether this layer stays"):
        run([step, Quantize()], task.model, task)


def test_one_layer_always_stays_and_what_is_excluded_does(task):
    assert list(skips(Prune(0.99, structure=layer())(task.model, task)).values()).count(True) == 1
    pruned = Prune(0.99, structure=layer(), exclude=("2.0", "2.2"))(task.model, task)
    assert set(skips(pruned)) == {"2.1", "2.3"}
    again = Prune(0.5, structure=layer())(Prune(0.5, structure=layer())(task.model, task), task)
    assert list(skips(again).values()).count(False) == 2


def test_what_cannot_be_passed_by_is_refused(task, tiny_task):
    with pytest.raises(
        UnsupportedError, match="Sequential has 0 layers that their input can pass by, and one always stays. They are"
    ):
        Prune(0.5, structure=layer())(tiny_task.model, tiny_task)
    with pytest.raises(UnsupportedError, match=r"layer\(blocks=\('3', '0'\)\) can't pass '0' by: it isn't called"):
        Prune(0.5, structure=layer(("3", "0")))(task.model, task)


def test_a_module_that_is_called_twice_is_no_such_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList(Inner() for _ in range(3))

        def forward(self, x):
            for block in (*self.blocks, self.blocks[0]):
                x = block(x)
            return x

    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.fc(x)

    model = Twice()
    pruned = Prune(0.5, structure=layer())(model, plain_task(model))
    assert set(skips(pruned)) == {"blocks.1", "blocks.2"}


def test_removed_layers_leave_and_the_others_get_their_names_back(task):
    recipe = (Prune(0.5, structure=layer()), Remove(), Quantize())
    check_step(recipe[2], task, after=recipe[:2])
    removed = run(recipe[:2], task.model, task)
    assert skips(removed) == {}
    assert set(removed.state_dict()) < set(task.model.state_dict())


def test_what_was_pruned_in_training_and_then_quantized_loads(task):
    task = dataclasses.replace(task, fit=Fit(precision="no"))
    recipe = (Prune(0.5, structure=layer(), schedule=cubic()), Train(epochs=1), Quantize())
    done = run(recipe, task.model, task)
    again = restore(replay(recipe, task.model, task, done.state_dict()), done.state_dict())
    x = torch.randn(4, 1, 8, 8)
    assert torch.equal(again.eval()(x), done(x))
