"""flyweight: deep-learning models made smaller, faster and better.

Names are loaded when they are first used, so ``import flyweight`` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Task": "core.task",
    "Splits": "core.task",
    "Step": "core.step",
    "Store": "core.store",
    "run": "core.recipe",
    "Frontier": "core.frontier",
    "Point": "core.point",
    "Footprint": "core.footprint",
    "Budget": "core.budget",
    "FlyweightError": "core.errors",
    "Train": "learn.train",
    "Fit": "learn.fit",
    "adam": "learn.optimizers",
    "sgd": "learn.optimizers",
    "distilled": "learn.distill.distilled",
    "mixed": "learn.augment.mixup",
    "Build": "models.build",
    "Resize": "models.resize",
    "penalized": "compress.sparsify.penalized",
    "L0Gates": "compress.sparsify.l0_gates",
    "VariationalDropout": "compress.sparsify.variational_dropout",
    "Settle": "compress.sparsify.settle",
    "Quantize": "compress.quantize.quantize",
    "Aware": "compress.quantize.aware",
    "Prune": "compress.prune.prune",
    "Remove": "compress.prune.remove",
    "Regrow": "compress.prune.regrow.regrow",
    "LotteryTicket": "compress.prune.lottery",
    "optimize": "search.optimize",
    "survey": "search.survey",
    "free": "search.free",
    "pruned": "search.pruned",
    "until": "search.until",
    "chain": "search.chain",
    "allocate": "search.allocate",
    "priced": "search.priced",
    "measure": "deploy.evaluate",
    "sparse_inference": "deploy.sparse_inference",
    "load_task": "tasks.load",
    "save_pretrained": "core.pretrained",
    "from_pretrained": "core.pretrained",
    "kernels_library": "kernels.library",
}

if TYPE_CHECKING:
    from flyweight.compress.prune.lottery import LotteryTicket as LotteryTicket
    from flyweight.compress.prune.prune import Prune as Prune
    from flyweight.compress.prune.regrow.regrow import Regrow as Regrow
    from flyweight.compress.prune.remove import Remove as Remove
    from flyweight.compress.quantize.aware import Aware as Aware
    from flyweight.compress.quantize.quantize import Quantize as Quantize
    from flyweight.compress.sparsify.l0_gates import L0Gates as L0Gates
    from flyweight.compress.sparsify.penalized import penalized as penalized
    from flyweight.compress.sparsify.settle import Settle as Settle
    from flyweight.compress.sparsify.variational_dropout import VariationalDropout as VariationalDropout
    from flyweight.core.budget import Budget as Budget
    from flyweight.core.errors import FlyweightError as FlyweightError
    from flyweight.core.footprint import Footprint as Footprint
    from flyweight.core.frontier import Frontier as Frontier
    from flyweight.core.point import Point as Point
    from flyweight.core.pretrained import from_pretrained as from_pretrained
    from flyweight.core.pretrained import save_pretrained as save_pretrained
    from flyweight.core.recipe import run as run
    from flyweight.core.step import Step as Step
    from flyweight.core.store import Store as Store
    from flyweight.core.task import Splits as Splits
    from flyweight.core.task import Task as Task
    from flyweight.deploy.evaluate import measure as measure
    from flyweight.deploy.sparse_inference import sparse_inference as sparse_inference
    from flyweight.kernels.library import kernels_library as kernels_library
    from flyweight.learn.augment.mixup import mixed as mixed
    from flyweight.learn.distill.distilled import distilled as distilled
    from flyweight.learn.fit import Fit as Fit
    from flyweight.learn.optimizers import adam as adam
    from flyweight.learn.optimizers import sgd as sgd
    from flyweight.learn.train import Train as Train
    from flyweight.models.build import Build as Build
    from flyweight.models.resize import Resize as Resize
    from flyweight.search.allocate import allocate as allocate
    from flyweight.search.chain import chain as chain
    from flyweight.search.free import free as free
    from flyweight.search.optimize import optimize as optimize
    from flyweight.search.priced import priced as priced
    from flyweight.search.pruned import pruned as pruned
    from flyweight.search.survey import survey as survey
    from flyweight.search.until import until as until
    from flyweight.tasks.load import load_task as load_task

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flyweight' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"flyweight.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


class _Package(ModuleType):
    """This package. A room is never put where a public function of its name stands (``measure``).

    Importing ``flyweight.measure.graph`` would else set ``flyweight.measure`` to the room, which ``from`` imports still
    reach.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
