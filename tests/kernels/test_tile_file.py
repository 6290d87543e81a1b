"""The file of tiles: what is measured is kept in it, and nothing in it can do harm."""

import ctypes

import numpy as np
import pytest

from abi_cases import sparse_matrix
from abi_paths import Worker
from flyweight.core.errors import KernelsError
from flyweight.kernels.library import available, check, load

pytestmark = pytest.mark.skipif(not available(), reason="the native kernels are not built")

HEADER = "flyweight tiles 1"


def case():
    random = np.random.default_rng(0)
    weight = sparse_matrix(random, 72, 20, 1, 4, 0.7, False, True)
    told = {"weight": weight, "window": [1] * 6 + [0] * 4, "bias": None, "activation": 0}
    return "conv", told, random.standard_normal((1, 20, 19, 19)).astype(np.float32), None


def run(**environment):
    worker = Worker("portable", **{name: str(value) for name, value in environment.items()})
    outputs = worker(*case(), ((1, True),))
    worker.close()
    assert not isinstance(outputs, str), outputs
    return outputs[0]


def test_a_measured_tile_is_kept_with_path_and_processor(tmp_path):
    file = tmp_path / "tiles"
    run(FLYWEIGHT_TILES=file)
    header, line = file.read_text().splitlines()
    path, processor, key, tile = line.split("|")
    assert (header, path) == (HEADER, "portable")
    assert processor and key.startswith("conv 72x20x1 r4 ")
    vectors, pack = map(int, tile.split())
    assert vectors >= 1 and pack in (0, 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["tiles"]


def test_a_kept_tile_is_not_measured_again_and_other_lines_stay(tmp_path):
    file = tmp_path / "tiles"
    run(FLYWEIGHT_TILES=file)
    kept = file.read_text()
    other = "avx512|Another processor|conv 1x1x1 r1 k1 n1|8 1\n"
    file.write_text(kept + other)
    before = file.stat().st_mtime_ns
    run(FLYWEIGHT_TILES=file)
    assert file.stat().st_mtime_ns == before
    worker = Worker("portable", FLYWEIGHT_TILES=str(file))
    kind, told, x, residual = case()
    worker(kind, told, x[:, :, :9].copy(), residual, ((1, True),))  # another size: measured and added
    worker.close()
    lines = file.read_text().splitlines()
    assert len(lines) == 4 and other.strip() in lines and set(kept.splitlines()) < set(lines)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff\x00\x93" * 5000,
        b"flyweight tiles 9\nportable|x|conv|4 1\n",
        f"{HEADER}\nportable|".encode(),
        f"{HEADER}\nportable|x|conv 72x20x1 r4 k1 n361|4".encode(),
        f"{HEADER}\n|||\n||||1 1\n4 1\nportable|x|y|-3 1\nportable|x|y|99999999999999 1\nportable|x|y|4 7\n".encode(),
        f"{HEADER}\n".encode() + b"a" * (1 << 20),
    ],
    ids=["empty", "bytes", "newer", "cut", "half a tile", "numbers", "one long line"],
)
def test_a_damaged_file_is_mended(tmp_path, damaged):
    file = tmp_path / "tiles"
    expected = run(FLYWEIGHT_TILES=tmp_path / "sound")
    file.write_bytes(damaged)
    assert np.array_equal(run(FLYWEIGHT_TILES=file), expected)
    lines = file.read_text().splitlines()
    assert lines[0] == HEADER and any("|conv 72x20x1 r4 " in line for line in lines[1:])
    assert all(line.count("|") >= 3 and line[-1] in "01" for line in lines[1:])


@pytest.mark.parametrize("tile", ["64 1", "5 0", "7 1"])
def test_a_tile_that_the_path_lacks_is_measured_anew(tmp_path, tile):
    file = tmp_path / "tiles"
    expected = run(FLYWEIGHT_TILES=file)
    header, line = file.read_text().splitlines()
    file.write_text(f"{header}\n{line.rpartition('|')[0]}|{tile}\n")
    assert np.array_equal(run(FLYWEIGHT_TILES=file), expected)
    assert not file.read_text().endswith(f"|{tile}\n")


def test_without_measuring_nothing_is_written(tmp_path):
    file = tmp_path / "tiles"
    run(FLYWEIGHT_TILES=file, FLYWEIGHT_TUNE="0")
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_no_error_of_a_run(tmp_path):
    run(FLYWEIGHT_TILES=tmp_path / "no such directory" / "tiles")


def test_naming_a_file_that_cannot_be_written_is_told(tmp_path):
    library = load()
    place = tmp_path / "no such directory" / "tiles"
    with pytest.raises(KernelsError, match=r"fw_tiles_file: can't write \".*\". Name a file in a directory"):
        check(library.fw_tiles_file(str(place).encode()), "fw_tiles_file")
    good = tmp_path / "tiles"
    check(library.fw_tiles_file(str(good).encode()), "fw_tiles_file")
    assert good.read_text().splitlines()[0] == HEADER
    check(library.fw_tiles_file(ctypes.c_char_p(None)), "fw_tiles_file")
