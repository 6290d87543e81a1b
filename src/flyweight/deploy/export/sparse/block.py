"""Finding inverted residual blocks: expand, depthwise, project, which the kernels compute without leaving the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flyweight.deploy.export.sparse.layer import CONV, DEPTHWISE, Layer
from flyweight.deploy.export.sparse.net import Net


@dataclass(frozen=True, eq=False)
class Block:
    """``expand`` (a pointwise convolution, or None), ``depthwise`` and ``project`` (pointwise, no activation), one
    after another; the project's residual is the block's own input, or there is none."""

    expand: Layer | None
    depthwise: Layer
    project: Layer

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in their order."""
        return tuple(layer for layer in (self.expand, self.depthwise, self.project) if layer is not None)

    @property
    def nodes(self) -> tuple[Any, ...]:
        """All nodes in their order."""
        return tuple(node for layer in self.layers for node in layer.nodes)

    @property
    def x(self) -> str:
        """The tensor that it reads."""
        return self.layers[0].x

    @property
    def output(self) -> str:
        """The name of what it gives."""
        return self.project.output


def blocks(net: Net, layers: Sequence[Layer]) -> list[Block]:
    """The blocks among ``layers``, in the order of the graph; what lies between their layers nobody else reads."""
    makers = {layer.output: layer for layer in layers}
    found = []
    for project in layers:
        depthwise = makers.get(project.x)
        if depthwise is None or not _projects(project) or not _alone(net, depthwise):
            continue
        window = depthwise.weight.window
        if depthwise.op != DEPTHWISE or window is None or window.dilations != (1, 1):
            continue
        expand = makers.get(depthwise.x)
        if expand is not None and (not _expands(expand) or not _alone(net, expand)):
            expand = None
        block = Block(expand, depthwise, project)
        if project.residual and project.residual != block.x:
            continue
        found.append(block)
    return found


def _projects(layer: Layer) -> bool:
    return layer.op == CONV and layer.weight.window is not None and layer.weight.window.point and not layer.activation


def _expands(layer: Layer) -> bool:
    return layer.op == CONV and layer.weight.window is not None and layer.weight.window.point and not layer.residual


def _alone(net: Net, layer: Layer) -> bool:
    return net.reader(layer.output) is not None
