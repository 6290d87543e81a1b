"""Sums of two images that the convolution before them can compute as it stores its results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flyweight.deploy.export.sparse.integers import ADD, CONV, Op
from flyweight.deploy.export.sparse.net import Net


def summed(net: Net, ops: Sequence[Op]) -> list[Op]:
    """``ops``, found in ``net``, in which a sum and a convolution that nobody else reads are one; of two such
    convolutions the later."""
    made: dict[str, Op] = {}  # by the codes that they give, in the order of the graph
    for op in ops:
        if op.op == ADD:
            convs = [made[x.codes] for x in op.xs if x.codes in made and _alone(net, made[x.codes], op)]
            if convs:
                conv = max(convs, key=lambda conv: net.places[id(conv.nodes[-1])])
                del made[conv.y.codes]
                made[op.y.codes] = replace(conv, nodes=(*conv.nodes, *op.nodes), sum=op)
                continue
        made[op.y.codes] = op
    return list(made.values())


def _alone(net: Net, conv: Op, add: Op) -> bool:
    """Whether ``conv`` is a convolution whose codes ``add`` reads, once, and nobody else."""
    stored = net.reader(conv.y.codes)
    return conv.op == CONV and conv.sum is None and stored is not None and net.reader(stored.output[0]) is add.node
