"""Products of two tensors: matmul, einsum, attention; and of one with a weight."""

from __future__ import annotations

from typing import Any

from flyweight.surgery.couple.call import Call
from flyweight.surgery.couple.value import Value, Weight, along, broadcast, constant, core, first, varying


def linear_rule(call: Call) -> Value:
    """aten.linear."""
    weight = call["weight"]
    x = call.input()
    if isinstance(weight, Weight):
        out = product(call, x, weight, 0, 1)
    else:
        letters = list(range(len(x.shape)))
        k = letters[-1]
        out = contract(call, x, weight, letters, [99, k], [*letters[:-1], 99])
    return biased(call, out, -1)


def biased(call: Call, out: Value, dim: int) -> Value:
    """``out`` with the call's bias added along ``dim``."""
    bias = call["bias"]
    if bias is None:
        return out
    role = "output"
    value = call.trace.value(bias, call.module, role)
    dim %= len(out.shape)
    shape = [1] * len(out.shape)
    shape[dim] = value.shape[-1]
    return call.trace.join([out, Value(value.labels.reshape(shape), None, value.loose)], out.shape, call.why)


def product(call: Call, x: Value, weight: Weight, rows: int, columns: int) -> Value:
    """x · Wᵀ over x's last dimension: ``rows`` and ``columns`` are W's dimensions of outputs and of inputs."""
    trace = call.trace
    ins = trace.axis(weight, columns, "input", call.module)
    outs = trace.axis(weight, rows, "output", call.module)
    shape = (*x.shape[:-1], len(outs))
    labels = trace.vector(x.labels, -1, call.why)
    if labels is None:
        why = f"{call.why} is shared by several units"
        trace.classes.freeze(ins, why)
        trace.classes.freeze(outs, why)
        return trace.emit(first(x.labels, [len(x.shape) - 1]).expand(shape))
    trace.classes.union(ins, labels, f"{call.why} reads what has to stay")
    return trace.emit(along(outs, len(shape) - 1, shape))


def contract(call: Call, a: Any, b: Any, of_a: list[int], of_b: list[int], of_out: list[int]) -> Value:
    """The sum of products of ``a`` and ``b`` over the letters that ``of_out`` has not."""
    trace = call.trace
    a, b = trace.value(a, call.module), trace.value(b, call.module)
    sides = []
    for value, letters in ((a, of_a), (b, of_b)):
        gone = [d for d, letter in enumerate(letters) if letter not in of_out]
        trace.pin(value.labels, gone, f"{call.why} sums over it")
        # Labels and source go the same way: without what was summed, in the order of the output.
        kept = [letters.index(letter) for letter in of_out if letter in letters]
        index = tuple(slice(None) if letter in letters else None for letter in of_out)
        parts = [
            None if t is None else first(t, gone).permute(*kept, *gone).reshape([t.shape[d] for d in kept])[index]
            for t in (value.labels, value.source)
        ]
        assert parts[0] is not None
        sides.append(Value(parts[0], parts[1], value.loose))
    both = [d for d, letter in enumerate(of_out) if letter in of_a and letter in of_b]
    found = [varying(trace.roots(side.labels)) & set(both) for side in sides]
    out = trace.join(sides, broadcast(sides[0].shape, sides[1].shape), call.why)
    # Of what was repeated, one serves several heads.
    repeated = [{d for d in both if side.shape[d] > 1 and not side.genuine(d)} for side in sides]
    if found[0] & (found[1] | repeated[1]) or found[1] & repeated[0]:
        trace.heads.append(core(out.labels).reshape(-1))
    return out


def matmul_rule(call: Call) -> Value:
    """aten.matmul, mm, bmm, mv, dot: with a weight of two dimensions it is a layer."""
    names = [name for name in ("input", "self", "other", "mat2", "vec", "tensor") if name in call.arguments]
    a, b = (call[name] for name in names[:2])
    if isinstance(b, Weight) and len(b.axes) == 2 and isinstance(a, Value) and not a.loose:
        return product(call, a, b, 1, 0)
    if isinstance(a, Weight) and len(a.axes) == 2 and isinstance(b, Value) and len(b.shape) >= 2:
        source = None if b.source is None else b.source.transpose(-1, -2)
        out = product(call, Value(b.labels.transpose(-1, -2), source), a, 0, 1)
        return call.trace.emit(out.labels.transpose(-1, -2))
    return _matmul(call, a, b)


def _matmul(call: Call, a: Any, b: Any) -> Value:
    if isinstance(b, Value) and (call.name == "bmm" or len(b.shape) > 3):
        _keep_size(call, b)
    ra, rb = len(a.shape), len(b.shape)
    batch = list(range(max(ra, rb) - 2)) if max(ra, rb) > 2 else []
    m, n, k = 100, 101, 102
    of_a = [*batch[len(batch) - max(ra - 2, 0) :], *([m] if ra > 1 else []), k]
    of_b = [*batch[len(batch) - max(rb - 2, 0) :], k, *([n] if rb > 1 else [])]
    out = [*batch, *([m] if ra > 1 else []), *([n] if rb > 1 else [])]
    return contract(call, a, b, of_a, of_b, out)


def addmm_rule(call: Call) -> Value:
    """aten.addmm, baddbmm: a product and what is added to it."""
    trace = call.trace
    names = ("batch1", "batch2") if "batch1" in call.arguments else ("mat1", "mat2")
    a, b = (call[name] for name in names)
    if isinstance(b, Weight) and len(b.axes) == 2 and isinstance(a, Value):
        out = product(call, a, b, 1, 0)
    else:
        out = _matmul(call, a, b)
    added = trace.value(call["self"], call.module, "output")
    return trace.join([out, added], out.shape, call.why)


def einsum_rule(call: Call) -> Value:
    """aten.einsum of one or two operands without ellipsis; others freeze."""
    trace = call.trace
    text, operands = call["equation"].replace(" ", ""), call["tensors"]
    left, arrow, right = text.partition("->")
    sides = [[ord(c) for c in side] for side in left.split(",")]
    if not arrow or "." in text or len(operands) != 2 or any(len(set(s)) != len(s) for s in sides):
        trace.freeze(operands, f"{call.why} ({text}) is not known to the trace")
        return trace.emit(constant(call.shape))
    a, b = operands
    of_a, of_b = sides
    out = [ord(c) for c in right]
    if isinstance(a, Weight) and not isinstance(b, Weight):
        a, b, of_a, of_b = b, a, of_b, of_a
    if isinstance(a, Value) and isinstance(b, Weight) and len(b.axes) == 2:
        summed = [letter for letter in of_b if letter in of_a and letter not in out]
        made = [letter for letter in of_b if letter in out and letter not in of_a]
        if len(summed) == len(made) == 1 and set(of_a) - set(out) == set(summed):
            rest = [letter for letter in of_a if letter != summed[0]]
            x = Value(a.labels.permute([of_a.index(letter) for letter in (*rest, *summed)]))
            y = product(call, x, b, of_b.index(made[0]), of_b.index(summed[0]))
            order = [*rest, *made]
            return trace.emit(y.labels.permute([order.index(letter) for letter in out]))
    return contract(call, a, b, of_a, of_b, out)


def attention_rule(call: Call) -> Value:
    """aten.scaled_dot_product_attention: softmax(q·kᵀ + mask)·v."""
    trace = call.trace
    q, k, v = (trace.value(call[name], call.module) for name in ("query", "key", "value"))
    if call.arguments.get("enable_gqa"):
        k, v = (_repeated(value, q.shape[-3] // value.shape[-3]) for value in (k, v))
    batch = list(range(len(q.shape) - 2))
    n, m, d, e = 100, 101, 102, 103
    scores = contract(call, q, k, [*batch, n, d], [*batch, m, d], [*batch, n, m])
    mask = call["attn_mask"]
    if mask is not None:
        scores = trace.join([scores, trace.value(mask, call.module)], scores.shape, call.why)
    trace.pin(scores.labels, [-1], f"{call.why} takes the softmax over it")
    _keep_size(call, v)
    return contract(call, scores, v, [*batch, n, m], [*batch, m, e], [*batch, n, e])


def _keep_size(call: Call, values: Value) -> None:
    """A head that is alone keeps its size, which queries and keys share with it in all but the rarest code."""
    last = len(values.shape) - 1
    if varying(call.trace.roots(values.labels)) == {last}:
        call.trace.pin(values.labels, [last], f"{call.why} reads it as one head")


def _repeated(value: Value, times: int) -> Value:
    return Value(value.labels.repeat_interleave(times, -3)) if times > 1 else value
