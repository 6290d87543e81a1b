"""Choosing whether the layers of an integer graph run on the sparse kernels: where that proved faster, here."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyweight.deploy.export.bitmap import bitmap
from flyweight.deploy.export.sparse.choose import FEWEST, WHOLE_SECONDS, WORTH
from flyweight.deploy.export.sparse.fours import in_fours
from flyweight.deploy.export.sparse.integers import CONV, Op
from flyweight.deploy.export.sparse.net import Net
from flyweight.deploy.export.sparse.race import Heat, race


@dataclass(frozen=True)
class ChosenIntegers:
    """The ``ops`` to write, and what to say of them."""

    ops: tuple[Op, ...] = ()
    note: str = ""


def integers_gain(found: Sequence[Op]) -> bool:
    """Whether a layer of ``found`` has so many zeros that the whole may gain from the kernels."""
    return any(map(_sparse, found))


def choose_integers(proto: Any, net: Net, found: Sequence[Op], example: Sequence[Any]) -> ChosenIntegers:
    """Times the model of ``proto`` as it is against the one with all of ``found``, and against the one that leaves out
    those before the first and behind the last convolution of many zeros, on the first of ``example`` (arrays).

    The kernels keep weights in tiles of 4×4, so zeros that do not lie in such are stored, while the plain file leaves
    each one out. Where the file would grow by a greater factor than the model gains in speed, it stays dense.
    """
    sparse = [place for place, op in enumerate(found) if _sparse(op)]
    if not sparse:
        return ChosenIntegers()
    ways = [list(found)]
    inner = list(found[sparse[0] : sparse[-1] + 1])
    if len(inner) < len(found):
        ways.append(inner)

    graphs = [proto]
    for way in ways:
        graphs.append(copy.deepcopy(proto))
        in_fours(graphs[-1], net, way)

    def written(folder: Path) -> list[Path]:
        paths = [folder / f"{i}.onnx" for i in range(len(graphs))]
        for path, graph in zip(paths, graphs, strict=True):
            path.write_bytes(graph.SerializeToString())
        return paths

    ((plain, *whole),) = race([Heat(object(), written)], [array[:1] for array in example], WHOLE_SECONDS)
    fastest = min(range(len(whole)), key=lambda way: whole[way])
    gain = plain / whole[fastest]
    if gain < WORTH:
        return ChosenIntegers(
            note=f"dense, since with the sparse kernels the whole integer model ran {gain:.2f}× as fast here"
        )
    growth = _stored(graphs[1 + fastest]) / _stored(proto)
    if growth > gain:
        return ChosenIntegers(
            note=f"dense, since in the sparse kernels' tiles of 4×4 the file is {growth:.2f}× as large, and the whole "
            f"integer model ran {gain:.2f}× as fast here"
        )
    kept = tuple(ways[fastest])
    note = (
        f"on the sparse kernels for integers: {len(kept)} operations, {sum(map(_sparse, kept))} of them convolutions "
        f"of many zeros; the whole model {gain:.2f}× as fast as dense in ONNX Runtime here, one thread, one example"
    )
    return ChosenIntegers(kept, note)


def _stored(proto: Any) -> int:
    """About the bytes of the file that ``proto`` becomes."""
    graph = copy.deepcopy(proto)
    bitmap(graph)
    return int(graph.ByteSize())


def _sparse(op: Op) -> bool:
    weight = op.weight
    return op.op == CONV and weight is not None and float((weight.values == 0).mean()) >= FEWEST
