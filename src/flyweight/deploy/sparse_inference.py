"""A pruned model that runs on the sparse kernels in torch itself."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from flyweight.core.errors import ParityError, UnsupportedError
from flyweight.deploy.differences import difference
from flyweight.deploy.sequels import sequels
from flyweight.deploy.sparse_pieces import fuse_blocks_, fuse_layers_
from flyweight.surgery.chain import detach, foreign, links
from flyweight.surgery.device import on_device
from flyweight.surgery.fold import fold_batchnorm_
from flyweight.surgery.integer import IntegerLayer
from flyweight.surgery.modes import evaluated
from flyweight.surgery.overheard import overheard
from flyweight.surgery.skip import remove_skips_
from flyweight.surgery.walk import matching, within


def sparse_inference(
    model: nn.Module, example: tuple[Tensor, ...] | None = None, exclude: Sequence[str] = ()
) -> nn.Module:
    """A copy of the pruned ``model``, for inference, whose layers of many zeros run on the sparse kernels.

    With ``example`` (inputs of one call, whose sizes matter), batch-norm is folded and activations are fused where the
    model can be traced; each layer, and each inverted residual as a whole, is timed both ways on this machine and stays
    as it was where that is faster; and the copy's outputs are compared with the model's. Without it, each layer of
    which at most half is kept runs sparse, and nothing is fused. What no kernel exists for (groups, other paddings) and
    what ``exclude`` matches stays dense, its masks taken into its weight; simulated integer layers stay as they are.

    The copy is in evaluation mode and works under ``torch.compile`` and ``torch.export``; its state dict loads into
    another that has the same layers. Raises :class:`ParityError` where its outputs are not the model's,
    :class:`UnknownNameError` for a glob that matches nothing.
    """
    made = copy.deepcopy(model).eval().requires_grad_(False)
    remove_skips_(made)
    left_out = matching(made, exclude)
    after: dict[str, str] = {}
    if example is not None:
        # A model that cannot be traced has its layers taken one by one, as they stand.
        with contextlib.suppress(UnsupportedError):
            fold_batchnorm_(made, example, exclude)
            after = sequels(made, exclude)
    integer = {id(module.layer) for module in made.modules() if isinstance(module, IntegerLayer)}
    for module in made.modules():
        if id(module) not in integer:
            _settle_(module)
    named = {
        name: module
        for name, module in made.named_modules(remove_duplicate=False)
        if id(module) not in integer and not within(name, left_out)
    }
    inputs = None if example is None else _inputs(made, example, named)
    pieces = fuse_layers_(made, named, after, inputs)
    if inputs is not None:
        fuse_blocks_(made, pieces, after, inputs)
    if example is not None:
        _compare(model, made, example)
    return made


def _settle_(module: nn.Module) -> None:
    """Takes the chains on ``module``'s parameters into their values."""
    for name in list(getattr(module, "parametrizations", ())):
        if not foreign(module, name):
            value: Tensor = getattr(module, name).detach().clone()
            for link in links(module, name):
                detach(module, link, name)
            # A parameter of its own, for another module may have the one that was under the chain.
            setattr(module, name, nn.Parameter(value, requires_grad=False))


def _inputs(model: nn.Module, example: tuple[Tensor, ...], named: dict[str, nn.Module]) -> dict[nn.Module, Tensor]:
    """What each layer of ``named`` reads, in its first call on ``example``."""
    found: dict[nn.Module, Tensor] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs:
            found.setdefault(module, inputs[0])

    layers = {module for module in named.values() if isinstance(module, nn.Conv2d | nn.Linear)}
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    overheard(model, example, hooks)
    return found


def _compare(model: nn.Module, made: nn.Module, example: tuple[Tensor, ...]) -> None:
    with evaluated(model), torch.no_grad():
        inputs = on_device(example, model)
        wanted, got = (pytree.tree_leaves(one(*inputs)) for one in (model, made))
    for one, other in zip(wanted, got, strict=True):
        if isinstance(one, Tensor) and (worst := difference(one, other)).excess > 1:
            raise ParityError(
                f"ParityError: {type(model).__name__} on sparse kernels differs from itself by {worst} on the example. "
                "Exclude layers to find the one that differs, and report it."
            )
