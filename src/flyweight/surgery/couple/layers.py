"""Layers: convolutions, norms, embeddings, PReLU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from flyweight.surgery.couple.call import Call
from flyweight.surgery.couple.contract import biased
from flyweight.surgery.couple.value import Value, Weight, along, constant, first, varying


def convolution_rule(call: Call) -> Value:
    """aten.conv1d … conv_transpose3d, of any number of groups."""
    trace, weight = call.trace, call["weight"]
    x, shape = call.input(), call.shape
    if len(x.shape) < len(weight.shape) or not isinstance(weight, Weight):
        trace.freeze([x, weight, call["bias"]], f"the weight of {call.why} is computed, or its input has no batch")
        return trace.emit(constant(shape))
    transposed = "transpose" in call.name
    groups = int(call["groups"])
    trace.pin(x.labels, range(2, len(x.shape)), f"{call.why} slides over it")
    labels = trace.vector(x.labels, 1, call.why)
    if labels is None:
        return _shared(call, x, weight)
    if groups == 1:
        ins = trace.axis(weight, 0 if transposed else 1, "input", call.module)
        outs = trace.axis(weight, 1 if transposed else 0, "output", call.module)
        trace.classes.union(ins, labels, f"{call.why} reads what has to stay")
    else:
        outs = _grouped(call, labels, weight, groups, transposed)
    return biased(call, trace.emit(along(outs, 1, shape)), 1)


def _grouped(call: Call, labels: Tensor, weight: Weight, groups: int, transposed: bool) -> Tensor:
    """The labels of the outputs: what a group reads and makes is one unit, a channel where it reads one alone."""
    trace = call.trace
    own = trace.axis(weight, 0, "follow" if len(labels) == groups else "output", call.module)
    ins, rows = labels.view(groups, -1), own.view(groups, -1)
    trace.classes.union(ins, ins[:, :1], f"{call.why} reads it in a group that has to stay")
    trace.classes.union(rows, ins[:, :1], f"{call.why} reads what has to stay")
    if not transposed:
        return own
    return ins[:, :1].expand(groups, weight.shape[1]).reshape(-1)


def _shared(call: Call, x: Value, weight: Weight) -> Value:
    trace = call.trace
    trace.freeze([weight, call["bias"]], f"{call.why} is shared by several units")
    differing = varying(trace.roots(x.labels))
    if differing - {0}:
        trace.freeze(x, f"{call.why} sums over it")
    kept = first(x.labels, range(1, len(x.shape)))
    return trace.emit(kept.expand(call.shape))


def channel_norm_rule(call: Call) -> Value:
    """aten.batch_norm, instance_norm: an affine map of each channel."""
    trace, x = call.trace, call.input()
    parts = [call[name] for name in ("weight", "bias", "running_mean", "running_var") if call[name] is not None]
    if len(x.shape) < 2:
        trace.freeze([x, *parts], f"{call.why} normalises a tensor without channels")
        return x
    if call.name == "instance_norm":
        trace.pin(x.labels, range(2, len(x.shape)), f"{call.why} normalises over it")
    if trace.vector(x.labels, 1, call.why) is None:
        trace.freeze(parts, f"{call.why} is shared by several units")
        return x
    return _affine(call, x, parts)


def group_norm_rule(call: Call) -> Value:
    """aten.group_norm: each group of channels is one unit, a single group stays."""
    trace, x, groups = call.trace, call.input(), int(call["num_groups"])
    trace.pin(x.labels, range(2, len(x.shape)), f"{call.why} normalises over it")
    labels = trace.vector(x.labels, 1, call.why)
    parts = [call[name] for name in ("weight", "bias") if call[name] is not None]
    if labels is None or groups == 1:
        trace.freeze([x, *parts], f"{call.why} normalises over it")
        return x
    trace.pin(labels.view(groups, -1), [1], f"{call.why} normalises over it")
    return _affine(call, x, parts)


def layer_norm_rule(call: Call) -> Value:
    """aten.layer_norm, rms_norm: what they normalise over stays."""
    trace, x = call.trace, call.input()
    rank = len(call["normalized_shape"])
    trace.pin(x.labels, range(len(x.shape) - rank, len(x.shape)), f"{call.why} normalises over it")
    parts = [call.arguments.get(name) for name in ("weight", "bias")]
    trace.freeze([part for part in parts if part is not None], f"{call.why} normalises over it")
    return x


def prelu_rule(call: Call) -> Value:
    """aten.prelu: a slope for each channel, or one for all."""
    trace, x = call.trace, call.input()
    slope = trace.value(call["weight"], call.module)
    if slope.labels.numel() == 1 or len(x.shape) < 2:
        trace.freeze(slope, f"{call.why} has one slope for all")
        return x
    shaped = Value(along(slope.labels.reshape(-1), 1, _one(x, 1)), None, slope.loose)
    return trace.join([x, shaped], x.shape, call.why)


def embedding_rule(call: Call) -> Value:
    """aten.embedding: its entries stay, its columns are made here."""
    trace, weight, shape = call.trace, call["weight"], call.shape
    if not isinstance(weight, Weight):
        trace.freeze(weight, f"the weight of {call.why} is computed")
        return trace.emit(constant(shape))
    entries = trace.axis(weight, 0, "follow", call.module)
    trace.classes.freeze(entries, f"any entry of {call.why} may be asked for")
    return trace.emit(along(trace.axis(weight, 1, "output", call.module), len(shape) - 1, shape))


def _affine(call: Call, x: Value, parts: Sequence[Any]) -> Value:
    """``x`` with each of ``parts``, one number a channel, in its place."""
    values = [x]
    for part in parts:
        value = call.trace.value(part, call.module)
        values.append(Value(along(value.labels.reshape(-1), 1, _one(x, 1)), None, value.loose))
    return call.trace.join(values, x.shape, call.why)


def _one(x: Value, dim: int) -> list[Any]:
    return [size if d == dim else 1 for d, size in enumerate(x.shape)]
