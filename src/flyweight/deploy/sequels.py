"""Which module alone reads what a module made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from torch import fx, nn

from flyweight.surgery.trace import trace

_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
"""What passes its input on in evaluation."""


def sequels(model: nn.Module, exclude: Sequence[str] = ()) -> dict[str, str]:
    """For the name of each module that is called once, and whose output one other reads alone, the name of that one.

    What does nothing in evaluation (identities, dropout) is passed over. Raises :class:`UnsupportedError` where the
    model cannot be traced; what lies inside a module that a glob of ``exclude`` matches need not be.
    """
    graph = trace(model, exclude)
    modules = dict(graph.named_modules())
    calls = Counter(str(node.target) for node in graph.graph.nodes if node.op == "call_module")
    found = {}
    for node in graph.graph.nodes:
        after = _reader(node, modules)
        if node.op == "call_module" and after is not None and after.op == "call_module" and after.args[1:] == ():
            names = str(node.target), str(after.target)
            if calls[names[0]] == calls[names[1]] == 1:
                found[names[0]] = names[1]
    return found


def _reader(node: fx.Node, modules: dict[str, nn.Module]) -> fx.Node | None:
    """The one node that reads ``node``, beyond those that do nothing."""
    while len(node.users) == 1:
        node = next(iter(node.users))
        if node.op != "call_module" or not isinstance(modules[str(node.target)], _NOTHING):
            return node
    return None
