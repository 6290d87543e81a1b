#!/usr/bin/env python3
"""Makes src/flyweight/tasks/data/fashion_mini.npz of the full Fashion-MNIST, the same bytes each time.

Taken are the first 1,000 training and the first 200 test images of each of the ten classes, in the files' own order
(which is shuffled), so there is no random number in it. Run: scripts/make_fashion_mini.py [FOLDER with the four .gz]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from flyweight.core.atomic import atomic_path
from flyweight.tasks.fashion_files import read_fashion

TARGET = Path(__file__).resolve().parent.parent / "src/flyweight/tasks/data/fashion_mini.npz"


def first_of_each(labels: np.ndarray, count: int) -> np.ndarray:
    """The places of the first ``count`` examples of each class, in order."""
    return np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))


def main() -> None:
    """Writes the file and says how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="where the four .gz files lie (default: the usual places)")
    full = read_fashion(parser.parse_args().folder)
    parts = {}
    for part, count in (("train", 1000), ("test", 200)):
        places = first_of_each(full[f"{part}_labels"], count)
        parts |= {f"{part}_{kind}": full[f"{part}_{kind}"][places] for kind in ("images", "labels")}
    with atomic_path(TARGET) as temporary:
        np.savez_compressed(temporary, **parts)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes, {len(parts['train_labels']):,} + {len(parts['test_labels']):,}")


if __name__ == "__main__":
    main()
