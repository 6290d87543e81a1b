"""Operations that move elements and compute nothing: the labels move with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from flyweight.surgery.couple.call import Call
from flyweight.surgery.couple.value import Value, Weight, along, compact, constant, core, first, numbered, varying


def moved(call: Call, operand: Any = None) -> Any:
    """Applies the operation itself to the labels."""
    name = next(iter(call.arguments))
    operand = call[name] if operand is None else operand
    rest = {key: value for key, value in call.arguments.items() if key != name}
    return replay(call, operand, lambda t: _apply(call, t, name, rest))


def passed_rule(call: Call) -> Any:
    """aten.clone, contiguous, to …: the same elements in the same places."""
    return call[next(iter(call.arguments))]


def reshaped_rule(call: Call) -> Any:
    """aten.view, reshape: the elements in their order."""
    return replay(call, call["self"], lambda t: t.reshape(call.shape))


def replay(call: Call, operand: Value | Weight, move: Callable[[Tensor], Any]) -> Any:
    """``move`` applied to what is known of ``operand``; several results come as a list."""
    trace = call.trace
    if isinstance(operand, Weight):
        parts = _moved_weight(operand, move)
        if parts is not None:
            return parts
        operand = trace.value(operand, call.module)
    labels = move(operand.labels)
    source = None if operand.source is None else move(operand.source)
    if isinstance(labels, Tensor):
        return trace.emit(compact(labels), None if source is None else compact(source), operand.loose)
    sources = [None] * len(labels) if source is None else [compact(t) for t in source]
    return [trace.emit(compact(t), s, operand.loose) for t, s in zip(labels, sources, strict=True)]


def expand_rule(call: Call) -> Value:
    """aten.expand, expand_as, broadcast_to: what is repeated takes any size."""
    x, shape = call.input(), call.shape
    lead = len(shape) - len(x.shape)
    genuine = {d + lead for d in range(len(x.shape)) if x.genuine(d)}
    source = numbered(shape, genuine)
    return call.trace.emit(x.labels.expand(shape), source, x.loose)


def select_rule(call: Call) -> Any:
    """aten.select, unbind: the dimension they take apart keeps its extent."""
    operand = call["self"]
    if isinstance(operand, Value):
        call.trace.pin(operand.labels, [call["dim"]], f"{call.why} picks out of it by number")
    return moved(call)


def pinned_rule(call: Call) -> Any:
    """aten.roll, unfold, diagonal, index_select …: what is addressed by number keeps its extent."""
    operand = call.input("input")
    dims = call.arguments.get("dims", call.arguments.get("dim", call.arguments.get("dimension")))
    if dims is None or dims == []:
        dims = range(len(operand.shape))
    call.trace.pin(operand.labels, [dims] if isinstance(dims, int) else dims, f"{call.why} picks out of it by number")
    if call.name in ("index_select", "gather", "take_along_dim"):
        kept = first(operand.labels, [dims] if isinstance(dims, int) else dims)
        return call.trace.emit(kept.expand(call.shape) if kept.dim() == len(call.shape) else constant(call.shape))
    return moved(call, operand)


def split_rule(call: Call) -> Any:
    """aten.chunk, split: pieces of one size lose the same indices; others keep their extent."""
    operand = call["self"]
    if isinstance(operand, Weight):
        return moved(call)
    trace, dim = call.trace, call["dim"] % len(operand.shape)
    sizes = {val.shape[dim] for val in call.node.meta["val"]}
    if dim in varying(trace.roots(operand.labels)) or operand.labels.stride(dim) != 0:
        _pieces(call, operand, dim, sizes.pop() if len(sizes) == 1 else None, 1)
    return moved(call)


def slice_rule(call: Call) -> Any:
    """aten.slice: slices that share a dimension out evenly lose the same indices; others keep its extent."""
    operand = call["self"]
    if isinstance(operand, Weight):
        return moved(call)
    trace, dim = call.trace, call["dim"] % len(operand.shape)
    size = operand.shape[dim]
    if dim in varying(trace.roots(operand.labels)) and call.shape[dim] != size:
        parts = [list(part) for part in _siblings(call.node, dim, size)]
        even = len({len(part) for part in parts}) == 1 and sorted(i for part in parts for i in part) == list(
            range(size)
        )
        if even:
            labels = torch.stack([operand.labels.index_select(dim, torch.tensor(part)) for part in parts])
            trace.classes.union(core(labels), core(labels)[:1], call.why)
        else:
            _pieces(call, operand, dim, None, 1)
    return moved(call)


def _pieces(call: Call, operand: Value, dim: int, size: int | None, _: int) -> None:
    why = f"{call.why} divides it at fixed places"
    if size is None:
        call.trace.pin(operand.labels, [dim], why)
        return
    shape = operand.shape
    labels = operand.labels.reshape(*shape[:dim], -1, size, *shape[dim + 1 :])
    call.trace.classes.union(core(labels), first(core(labels), [dim]), why)


def _siblings(node: fx.Node, dim: int, size: int) -> set[range]:
    """The index ranges of all slices of the same tensor along ``dim``."""
    found = set()
    source = node.args[0]
    assert isinstance(source, fx.Node)
    for user in source.users:
        if str(user.target) == str(node.target) and user.args[0] is source:
            given = [*user.args[1:], *(None,) * 4][:4]
            places: list[Any] = [
                value if value is not None else default for value, default in zip(given, (0, 0, size, 1), strict=True)
            ]
            if places[0] % len(node.meta["val"].shape) == dim:
                found.add(range(*slice(*places[1:]).indices(size)))
    return found


def cat_rule(call: Call) -> Any:
    """aten.cat: along the other dimensions the operands lose the same."""
    trace, shape = call.trace, call.shape
    values = [trace.value(t, call.module) for t in call["tensors"]]
    values = [value for value in values if len(value.shape) == len(shape)]
    dim = call["dim"] % len(shape)
    across = [varying(trace.roots(value.labels)) - {dim} for value in values]
    if not any(across):
        labels = [value.labels for value in values]
        return trace.emit(compact(torch.cat(labels, dim)), None, all(value.loose for value in values))
    for value in values:
        trace.pin(value.labels, [dim], call.why)
    slim = [
        Value(first(v.labels, [dim]), None if v.source is None else first(v.source, [dim]), v.loose) for v in values
    ]
    return trace.emit(
        trace.join(slim, [1 if d == dim else s for d, s in enumerate(shape)], call.why).labels.expand(shape)
    )


def stack_rule(call: Call) -> Any:
    """aten.stack: the operands lose the same."""
    trace, shape = call.trace, call.shape
    values = [trace.value(t, call.module) for t in call["tensors"]]
    dim = call["dim"] % len(shape)
    joined = trace.join(values, [s for d, s in enumerate(shape) if d != dim], call.why)
    return trace.emit(joined.labels.unsqueeze(dim).expand(shape))


def pad_rule(call: Call) -> Value:
    """aten.pad: padding in space touches no channel; padding of channels has to stay."""
    trace, x, shape = call.trace, call.input(), call.shape
    pads = list(call["pad"])
    differing = varying(trace.roots(x.labels))
    labels = x.labels
    for place, low in enumerate(pads[::2]):
        high, dim = pads[2 * place + 1], len(shape) - 1 - place
        if dim not in differing:
            labels = first(labels, [dim]).expand(*labels.shape[:dim], shape[dim], *labels.shape[dim + 1 :])
            continue
        if call.arguments.get("mode", "constant") != "constant" or low < 0 or high < 0:
            trace.pin(labels, [dim], f"{call.why} repeats a part of it")
        sizes = list(labels.shape)
        before, after = ([*sizes[:dim], max(0, n), *sizes[dim + 1 :]] for n in (low, high))
        inner = labels.narrow(dim, max(0, -low), sizes[dim] + min(0, low) + min(0, high))
        labels = compact(torch.cat([constant(before), inner, constant(after)], dim))
    return trace.emit(labels)


def index_rule(call: Call) -> Any:
    """aten.index: constant indices move the labels of a parameter; of an activation they pin what they address."""
    trace, operand = call.trace, call["self"]
    indices = call["indices"]
    dims = [dim for dim, index in enumerate(indices) if index is not None]
    value = trace.value(operand, call.module)
    nodes = call.node.args[1]
    assert isinstance(nodes, tuple | list)
    known = [call.concrete(n) if isinstance(n, fx.Node) else None for n in nodes]
    fixed = all(index is None or tensor is not None for index, tensor in zip(indices, known, strict=True))
    if not value.loose:
        trace.pin(value.labels, dims, f"{call.why} picks out of it by number")
    elif not fixed:
        trace.freeze(value, f"{call.why} picks out of it by number")
    if fixed:
        picked = value.labels[tuple(slice(None) if t is None else t.cpu() for t in known)]
        return trace.emit(compact(picked), None, value.loose)
    if len(dims) == dims[-1] - dims[0] + 1:
        # All indices together become the dimensions of one index, in the place of the first.
        rest = first(value.labels, dims)
        for dim in reversed(dims):
            rest = rest.squeeze(dim)
        rank = len(call.shape) - rest.dim()
        for _ in range(rank):
            rest = rest.unsqueeze(dims[0])
        return trace.emit(rest.expand(call.shape))
    trace.freeze(value, f"{call.why} picks out of it by number")
    return trace.emit(constant(call.shape))


def _moved_weight(weight: Weight, move: Callable[[Tensor], Any]) -> Any:
    """The weight after ``move``, if its axes are still axes; else None."""
    shape = weight.shape
    marks = [move(along(torch.arange(size) + 1, d, shape)) for d, size in enumerate(shape)]
    if not marks or not isinstance(marks[0], Tensor):
        if not marks:
            return None
        parts = [_rebuilt(weight, list(pieces)) for pieces in zip(*marks, strict=True)]
        return None if any(part is None for part in parts) else parts
    return _rebuilt(weight, marks)


def _rebuilt(weight: Weight, marks: list[Tensor]) -> Weight | None:
    shape = marks[0].shape
    axes: list[tuple[int, Tensor] | None] = [None] * len(shape)
    single: list[tuple[int, Tensor]] = []
    for mark, axis in zip(marks, weight.axes, strict=True):
        differing = varying(mark)
        if len(differing) > 1 or mark.numel() == 0:
            return None
        if axis is None:
            continue
        if not differing:
            single.append((axis[0], axis[1][mark.reshape(-1)[:1] - 1]))
            continue
        dim = differing.pop()
        if axes[dim] is not None:
            return None
        axes[dim] = (axis[0], axis[1][first(mark, [d for d in range(mark.dim()) if d != dim]).reshape(-1) - 1])
    for dim, size in enumerate(shape):
        if axes[dim] is None and size == 1 and single:
            axes[dim] = single.pop(0)
        elif axes[dim] is None and size != 1:
            return None
    return Weight(weight.key, tuple(axes))


def _apply(call: Call, tensor: Tensor, name: str, rest: dict[str, Any]) -> Any:
    target: Any = call.node.target
    return target(**{name: tensor}, **rest) if name != "self" else target(tensor, **rest)
