"""Whatever tiles a product is cut into, its result is bitwise the same."""

import numpy as np
import pytest

from abi_cases import BLOCKS, sparse_matrix
from abi_paths import Worker, available_paths
from flyweight.kernels.library import available

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")


def cases():
    """Layers of sizes that are cut in many ways: two or more tiles, and ends that fill no vector."""
    random = np.random.default_rng(0)
    found = []
    for block in BLOCKS:
        none = {"bias": random.standard_normal(72).astype(np.float32), "activation": 3}
        for window, side in (
            ([1] * 6 + [0] * 4, 19),
            ([3, 3, 1, 1, 1, 1, 1, 1, 1, 1], 13),
            ([1, 1, 2, 2, 1, 1] + [0] * 4, 21),
        ):
            weight = sparse_matrix(random, 72, 20, window[0] * window[1], block, 0.7, False, True)
            x = random.standard_normal((2, 20, side, side)).astype(np.float32)
            found.append(("conv", {"weight": weight, "window": window, **none}, x))
        for tokens in (1, 5, 128, 150):
            weight = sparse_matrix(random, 72, 40, 1, block, 0.7, False, True)
            found.append(
                ("linear", {"weight": weight, **none}, random.standard_normal((tokens, 40)).astype(np.float32))
            )
    return found


def outputs(worker):
    told = [worker(kind, spec, x, None, ((1, True), (2, False))) for kind, spec, x in cases()]
    assert not any(isinstance(one, str) for one in told)
    return told


def paths():
    workers = available_paths()
    for worker in workers.values():
        worker.close()
    return list(workers)


def test_all_tiles_give_the_same_bits(tmp_path):
    widest = paths()[-1]
    for path in paths():
        file = tmp_path / path
        first = Worker(path, FLYWEIGHT_TILES=str(file))
        expected = outputs(first)
        first.close()
        header, *lines = file.read_text().splitlines()
        keys = [line.rpartition("|")[0] for line in lines]
        assert len(keys) >= 20, "each size should have been measured"
        taken = set()
        # What tiles there are hangs on the number of registers: all on the widest path, the ends on the others.
        for vectors in (1, 2, 3, 4, 6, 8) if path == widest else (1, 4):
            for pack in (0, 1):
                file.write_text("\n".join([header, *(f"{key}|{vectors} {pack}" for key in keys), ""]))
                worker = Worker(path, FLYWEIGHT_TILES=str(file))
                found = outputs(worker)
                worker.close()
                for one, other in zip(expected, found, strict=True):
                    assert all(
                        np.array_equal(a.view(np.int32), b.view(np.int32)) for a, b in zip(one, other, strict=True)
                    )
                # A key whose tile is no candidate was measured again, and another written for it.
                if any(line.endswith(f"|{vectors} {pack}") for line in file.read_text().splitlines()[1:]):
                    taken.add((vectors, pack))
        assert len(taken) >= (8 if path == widest else 3), taken


def test_without_measuring_the_bits_are_the_same():
    for path in paths():
        told = []
        for tune in ("0", "1"):
            worker = Worker(path, FLYWEIGHT_TUNE=tune)
            told.append(outputs(worker))
            worker.close()
        for one, other in zip(*told, strict=True):
            assert all(np.array_equal(a.view(np.int32), b.view(np.int32)) for a, b in zip(one, other, strict=True))
