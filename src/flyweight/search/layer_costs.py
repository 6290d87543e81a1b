"""What the layers of each pool cost at each count of units kept: the table that ``allocate`` can be given."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from flyweight.compress.prune.cut import counts
from flyweight.compress.prune.pool import Pool
from flyweight.compress.prune.pools.coupled import Coupled
from flyweight.compress.prune.prune import Prune
from flyweight.core.errors import ShapeError, UnsupportedError
from flyweight.core.task import Task
from flyweight.deploy.runtimes.open import runtime_name
from flyweight.measure.geometry import Geometry
from flyweight.measure.layer_cost import CostTable, cost_table
from flyweight.search.allocate import RATIOS
from flyweight.surgery.overheard import overheard

_TIMED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

Groups = dict[str, dict[int, list[Geometry]]]


def layer_costs(
    model: nn.Module,
    task: Task,
    prune: Prune,
    *,
    ratios: Sequence[float] = RATIOS,
    runtime: str = "onnxruntime",
    threads: int = 1,
    integers: bool = False,
) -> CostTable:
    """Milliseconds of the layers that each pool of ``prune`` changes, whole and less each of ``ratios`` of its units.

    Layers are timed alone in the runtime (:func:`~flyweight.measure.layer_cost.cost_table`), equal ones once, which
    takes seconds where exporting the model for every pool and ratio takes minutes. Convolutions and linear layers are
    in it; what else follows their width costs little. ``model`` is left as it was. Raises :class:`UnsupportedError` for
    a structure whose units cannot be removed.
    """
    masked = copy.deepcopy(model)
    groups = groups_of(masked, task, prune.structure(masked, task, prune.exclude), ratios)
    return cost_table(groups, runtime=runtime_name(runtime), threads=threads, integers=integers)


def groups_of(model: nn.Module, task: Task, pools: Sequence[Pool], ratios: Sequence[float]) -> Groups:
    """By pool and count of units kept, the sizes of the layers that make or read them."""
    shapes = _input_shapes(model, task)
    found: Groups = {}
    for pool in pools:
        if not isinstance(pool, Coupled):
            raise UnsupportedError(
                f"UnsupportedError: the units of {pool.name!r} do not leave the model, so no layer gets faster by it. "
                "Use structure=channel() or head(), or let allocate() price whole models."
            )
        units = len(pool.kept)
        kept = sorted({units, *(counts([pool], [ratio])[0] for ratio in ratios)})
        found[pool.name] = {count: _layers(model, pool, units - count, shapes) for count in kept}
    return found


def _layers(model: nn.Module, pool: Coupled, lost: int, shapes: dict[str, tuple[int, ...]]) -> list[Geometry]:
    """The layers of ``pool`` when ``lost`` of its units are gone."""
    sizes: dict[str, dict[int, int]] = {}
    for part in pool.group.slices:
        name, _, parameter = part.name.rpartition(".")
        if parameter == "weight" and name in shapes:
            own = sizes.setdefault(name, {})
            own[part.dim] = own.get(part.dim, 0) + lost * int(part.indices.shape[1])
    layers = []
    for name, gone in sizes.items():
        whole = Geometry.of(model.get_submodule(name), shapes[name])
        outputs, inputs = whole.weight[0] - gone.get(0, 0), whole.weight[1] * whole.groups - gone.get(1, 0)
        depthwise = whole.groups > 1 and whole.weight[1] == 1
        try:
            layers.append(whole.kept(outputs) if depthwise else whole.kept(outputs, inputs))
        except ShapeError:  # a grouped convolution that cannot lose so many: it stays as it is
            layers.append(whole)
    return layers


def _input_shapes(model: nn.Module, task: Task) -> dict[str, tuple[int, ...]]:
    """What each layer reads, without the batch, in one forward pass; of several calls the last."""
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            found[name] = tuple(int(n) for n in inputs[0].shape[1:])

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, _TIMED)]
    hooks = [module.register_forward_pre_hook(note(name)) for name, module in layers]
    overheard(model, task.example, hooks)
    return found
