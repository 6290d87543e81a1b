"""Operations over dimensions: reductions, softmax, pooling; and elementwise ones."""

from __future__ import annotations

import torch

from flyweight.surgery.couple.call import Call
from flyweight.surgery.couple.value import Value, constant, first


def elementwise_rule(call: Call) -> Value:
    """Any operation that computes each element of its output from those at the same place."""
    trace = call.trace
    values = [trace.value(tensor, call.module) for tensor in call.tensors()]
    shape = call.shape
    if not values:
        return trace.emit(constant(shape))
    if len(values) == 1 and values[0].shape == shape:
        return values[0]
    return trace.join(values, shape, call.why)


def over_dim_rule(call: Call) -> Value:
    """softmax, cumsum, sort …: what they run over stays; the shape is the input's."""
    x = call.input()
    call.trace.pin(x.labels, _dims(call, x), f"{call.why} runs over it")
    return x


def sorted_rule(call: Call) -> list[Value]:
    """sort, topk, cummax: values and indices, in another order or fewer."""
    trace, x = call.trace, call.input()
    dim = call.arguments.get("dim", -1)
    trace.pin(x.labels, [dim], f"{call.why} runs over it")
    out = trace.emit(first(x.labels, [dim % max(1, len(x.shape))]).expand(call.shape))
    return [out, out]


def gated_rule(call: Call) -> Value:
    """aten.glu: one half gates the other."""
    trace, x = call.trace, call.input()
    dim = call["dim"] % len(x.shape)
    halves = [Value(half, None, x.loose) for half in x.labels.chunk(2, dim)]
    return trace.join(halves, call.shape, call.why)


def reduce_rule(call: Call) -> Value:
    """mean, sum, amax, argmax …: what they run over stays, and is gone."""
    trace, x, shape = call.trace, call.input(), call.shape
    dims = {dim % max(1, len(x.shape)) for dim in _dims(call, x)}
    trace.pin(x.labels, dims, f"{call.why} runs over it")
    labels = first(x.labels, dims)
    if len(shape) < labels.dim():
        labels = labels.permute(*[d for d in range(labels.dim()) if d not in dims], *dims)
        labels = labels.reshape(labels.shape[: len(shape)])
    return trace.emit(labels.expand(shape))


def extreme_rule(call: Call) -> Value | list[Value]:
    """max, min, median: of two tensors, over all, or over a dimension, where they also tell indices."""
    if call.arguments.get("other") is not None:
        return elementwise_rule(call)
    out = reduce_rule(call)
    return [out, out] if "dim" in call.arguments else out


def pool_rule(call: Call) -> Value:
    """Pooling and resizing in space: channels pass."""
    trace, x, shape = call.trace, call.input(), call.shape
    space = range(len(x.shape) - _space(call.name), len(x.shape))
    trace.pin(x.labels, space, f"{call.why} slides over it")
    return trace.emit(first(x.labels, space).expand(shape))


def pool_with_indices_rule(call: Call) -> list[Value]:
    """max_pool with its indices."""
    out = pool_rule(call)
    return [out, out]


def columns_rule(call: Call) -> Value:
    """aten.im2col: each channel becomes as many as the window has places."""
    trace, x, shape = call.trace, call.input(), call.shape
    trace.pin(x.labels, range(2, len(x.shape)), f"{call.why} slides over it")
    labels = first(x.labels, [2, 3]).reshape(x.shape[:2])
    return trace.emit(labels.repeat_interleave(shape[1] // x.shape[1], 1).unsqueeze(2).expand(shape))


def like_rule(call: Call) -> Value:
    """zeros_like and its kin take the shape of their input."""
    return call.input()


def unknown_rule(call: Call) -> Value | list[Value]:
    """An operation that the trace does not know: all that it touches stays."""
    trace = call.trace
    trace.freeze(call.tensors(), f"{call.why} is not known to the trace")
    told = call.node.meta.get("val")
    if isinstance(told, tuple | list):
        return [trace.emit(constant(part.shape)) for part in told if isinstance(part, torch.Tensor)]
    return trace.emit(constant(told.shape if isinstance(told, torch.Tensor) else ()))


def _dims(call: Call, x: Value) -> list[int]:
    dim = call.arguments.get("dim")
    if dim is None or dim == []:
        return list(range(len(x.shape)))
    return [dim] if isinstance(dim, int) else list(dim)


def _space(name: str) -> int:
    return next(count for count in (1, 2, 3) if f"{count}d" in name) if "d" in name[-12:] else 2
