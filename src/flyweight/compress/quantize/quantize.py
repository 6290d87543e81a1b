"""Quantization of weights and activations, after training or aware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from flyweight.compress.quantize.aware import Aware
from flyweight.compress.quantize.calibrate import calibrate_
from flyweight.compress.quantize.each import round_each_
from flyweight.compress.quantize.place import place_
from flyweight.compress.quantize.ranges.minmax import minmax
from flyweight.compress.quantize.ranges.rule import Range
from flyweight.core.errors import FlyweightError, ShapeError, UnsupportedError
from flyweight.core.notes import note, noted
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.numerics.codes import CodeRange
from flyweight.numerics.granularity import Granularity, per_channel, per_group, per_tensor
from flyweight.surgery.activation import Requantize
from flyweight.surgery.chain import FOREIGN, attach, foreign, links
from flyweight.surgery.device import device_of, on_device
from flyweight.surgery.fake_quantize import FakeQuantize
from flyweight.surgery.fold import fold_batchnorm_, fold_pairs_, foldable
from flyweight.surgery.integer import IntegerLayer, is_layer
from flyweight.surgery.skip import Skip
from flyweight.surgery.trace import trace
from flyweight.surgery.walk import replace_, shared, walk


@dataclass(frozen=True)
class Quantize(Step):
    """Weights of ``bits`` bits and activations of ``activations`` bits, as the runtime's integer kernels compute.

    ``activations=None`` quantizes weights alone: a smaller file, float arithmetic. ``ranges`` is the rule by which
    calibration sets activation ranges; ``granularity`` says which weights share a scale. With ``aware`` None batch-norm
    is folded for good and the ranges stay as calibrated; else a training step that follows goes by its policies.
    ``exclude`` holds globs of module names that stay float. In a model that cannot be traced (control flow on values,
    as most transformers have it) each layer rounds what it reads, and all between layers stays float, batch-norm too.
    Embeddings are rounded as weights are, a scale a row, but for those that another module shares.
    Raises :class:`UnsupportedError` where nothing can be quantized, :class:`UnknownNameError` for a glob that matches
    nothing, and :class:`ShapeError` for bits or groups that do not fit.
    """

    bits: int = 8
    activations: int | None = 8
    ranges: Range = minmax()  # noqa: RUF009 (frozen)
    granularity: Granularity = per_channel()  # noqa: RUF009
    aware: Aware | None = None
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        CodeRange(self.bits)
        if self.activations is not None:
            CodeRange(self.activations)
            if self.granularity not in (per_tensor(), per_channel()):
                raise FlyweightError(
                    "FlyweightError: integer kernels take one scale an output channel, and Quantize got "
                    f"{self.granularity!r}. Use per_channel() or per_tensor(), or activations=None."
                )

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        edited = self._structure(model, task).train(model.training)
        if self.activations is not None:
            calibrate_(edited, task, self.ranges)
        return edited

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        with noted():  # what is told was told by edit, and the store tells it again
            return self._structure(model, task)

    def _structure(self, model: nn.Module, task: Task) -> nn.Module:
        names = self._layers(model)
        example = on_device(task.example, model)
        for name in self._tables(model):
            attach(model.get_submodule(name), FakeQuantize(self.bits, _by_rows(self.granularity)))
        if self.activations is None:
            return self._weights_only(model, names, example)
        try:
            graph = trace(model, self.exclude)
        except UnsupportedError as error:
            if any(isinstance(module, Skip) and module.undecided for module in model.modules()):
                raise
            told = str(error).removeprefix("UnsupportedError: ")
            note(f"{told} As it is, each layer rounds by itself, with floats between layers.")
            return self._each(model, names, example)
        norms = dict(foldable(graph, example))
        if self.aware is None and norms:
            fold_pairs_(model, list(norms.items()))
            graph, norms = trace(model, self.exclude), {}
        called = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
        layers = {n: self._integer(graph, n, norms.get(n)) for n in names if n in called}
        if not layers:
            raise UnsupportedError(_nothing(model, self.exclude))
        for name, layer in layers.items():
            replace_(graph, name, layer)
            if name in norms:
                replace_(graph, norms[name], nn.Identity())
        _drop_identities(graph)
        for name, grids in place_(graph, task, self._activation).items():
            layers[name].attach(*grids)
        graph.delete_all_unused_submodules()
        graph.to(device_of(model))
        return graph

    def _each(self, model: nn.Module, names: list[str], example: tuple[Tensor, ...]) -> nn.Module:
        """``model`` as it stands, for want of a graph, its layers rounding by themselves."""
        if not round_each_(model, names, example, lambda n: self._integer(model, n, None), self._activation):
            raise UnsupportedError(_nothing(model, self.exclude))
        return model.to(device_of(model))

    def _layers(self, model: nn.Module) -> list[str]:
        """The names of the layers to quantize, each fit to be."""
        names = []
        for name, module in walk(model, exclude=self.exclude):
            if not is_layer(module):
                continue
            if any(isinstance(link, FakeQuantize) for link in links(module)):
                raise UnsupportedError(
                    f"UnsupportedError: the weight of {name!r} is quantized already. Take one Quantize in a recipe."
                )
            if foreign(module):
                raise UnsupportedError(f"UnsupportedError: Quantize can't take {name!r}, whose weight {FOREIGN}")
            try:
                self.granularity.rows(module.weight)  # type: ignore[arg-type]
            except ShapeError as error:
                raise ShapeError(
                    f"ShapeError: Quantize, at layer {name!r}: {str(error).removeprefix('ShapeError: ')}"
                ) from error
            names.append(name)
        if not names:
            raise UnsupportedError(_nothing(model, self.exclude))
        return names

    def _tables(self, model: nn.Module) -> list[str]:
        """The names of the embeddings to quantize: plain ones whose values no other module shares."""
        common = shared(model)
        return [
            name
            for name, m in walk(model, exclude=self.exclude)
            if isinstance(m, nn.Embedding)
            and type(m).forward is nn.Embedding.forward
            and m.max_norm is None
            and not m.sparse
            and not foreign(m)
            and not any(id(p) in common for p in m.parameters())
        ]

    def _weights_only(self, model: nn.Module, names: list[str], example: tuple[Tensor, ...]) -> nn.Module:
        norms: dict[str, str] = {}
        try:
            if self.aware is None:
                fold_batchnorm_(model, example, self.exclude)
            else:
                norms = dict(foldable(trace(model, self.exclude), example))
        except UnsupportedError:
            norms = {}  # A model that cannot be traced keeps its batch-norm, which is float anyhow.
        for name in names:
            if name in norms:
                layer = self._integer(model, name, norms[name])
                replace_(model, norms[name], nn.Identity())
                replace_(model, name, layer)
            else:
                attach(model.get_submodule(name), FakeQuantize(self.bits, self.granularity))
        return model

    def _integer(self, model: nn.Module, name: str, norm: str | None) -> IntegerLayer:
        link = FakeQuantize(self.bits, self.granularity)
        freeze = 1.0 if self.aware is None else self.aware.freeze
        batchnorm = None if norm is None else model.get_submodule(norm)
        return IntegerLayer(model.get_submodule(name), link, norm=batchnorm, freeze=freeze)

    def _activation(self) -> Requantize:
        assert self.activations is not None
        if self.aware is None:
            return Requantize(self.activations)
        return Requantize(self.activations, self.aware.ema, self.aware.delay, self.aware.freeze)


def _by_rows(granularity: Granularity) -> Granularity:
    """For a table, of which rows are read: a scale a row, where a layer's weights have one a group."""
    return per_channel() if isinstance(granularity, per_group) else granularity


def _drop_identities(graph: fx.GraphModule) -> None:
    """Takes out what folded batch-norm left, so that a ReLU follows its layer."""
    for node in list(graph.graph.nodes):
        if node.op == "call_module" and type(graph.get_submodule(str(node.target))) is nn.Identity:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)


def _nothing(model: Any, exclude: tuple[str, ...]) -> str:
    left = f" outside exclude={exclude!r}" if exclude else ""
    return (
        f"UnsupportedError: {type(model).__name__} has nothing to quantize{left}: no Conv1d, Conv2d or Linear that its "
        "forward calls. Leave Quantize out of the recipe."
    )
