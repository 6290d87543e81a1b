"""Everything that is measured: the rows of all networks and layers, and the machine's figures."""

from __future__ import annotations

import argparse
from typing import Any

from flyweight.kernels.library import why_not
from flyweight.measure.host import host
from sparse_speed.bench import Bench, say
from sparse_speed.layer_rows import every_layer
from sparse_speed.nets import nets
from sparse_speed.networks import network


def measure(args: argparse.Namespace, litert_python: str) -> dict[str, Any]:
    """The rows of all networks and layers, the machine's figures, and who was there."""
    if reason := why_not():
        raise SystemExit(f"The sparse kernels are not used: {reason}.")
    bench = Bench(args, litert_python)
    for name, reason in bench.absent.items():
        say(f"{name} is left out: {reason}")
    try:
        before = _machine(bench)
        networks = [] if "networks" in args.skip else [r for n in args.nets for r in network(bench, nets()[n])]
        alone = [] if "layers" in args.skip else every_layer(bench, before)
        after = _machine(bench)
    finally:
        bench.workers.close()
    machine = {k: (max(v, after[k]) if isinstance(v, float) else v) for k, v in before.items()}
    return {
        "networks": networks,
        "layers": alone,
        "path": machine["path"],
        "capped_to_avx2": args.path == "avx2",
        "machine": machine,
        "runtimes": bench.versions,
        "absent": bench.absent,
        "rounds": args.rounds,
        "ahead_of_other_processes": args.ahead,
        "turn_ms": args.ms,
        "host": host(),
    }


def _machine(bench: Bench) -> dict[str, Any]:
    found = bench.workers.ask("kernel:1", {"job": "machine"})
    if "error" in found:
        raise SystemExit(f"The kernels' library does not tell what the machine can do: {found['error']}")
    return found
