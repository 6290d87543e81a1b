"""The four files of Fashion-MNIST: found, or downloaded once, and always checked."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flyweight.core.atomic import atomic_path
from flyweight.core.errors import TaskError
from flyweight.tasks.published import Published

URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")

# SHA-256 of what is inside: Debian compresses the same bytes again, so its .gz differ from the author's.
FILES = {
    "train_images": ("train-images-idx3-ubyte.gz", "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
    "train_labels": ("train-labels-idx1-ubyte.gz", "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
    "test_images": ("t10k-images-idx3-ubyte.gz", "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
    "test_labels": ("t10k-labels-idx1-ubyte.gz", "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}

_FASHION = Published(
    "Fashion-MNIST",
    "fashion-mnist",
    "There are three ways to have them: install Debian's package dataset-fashion-mnist; name a folder that holds the "
    "four .gz files with FLYWEIGHT_DATA or fashion(folder=…); or let flyweight download them (31 MB), for which it "
    "needs the network.",
    "MNIST has files of the same names",
)


def read_fashion(folder: Path | str | None = None) -> dict[str, NDArray[np.uint8]]:
    """Fashion-MNIST's images ``(N, 28, 28)`` and labels ``(N,)``: 60,000 to train on, 10,000 to test on.

    Looked for in ``folder``, or where that is None in ``$FLYWEIGHT_DATA``, or in a folder ``fashion-mnist`` in either;
    else in Debian's place and in the cache (``$XDG_CACHE_HOME/flyweight`` or ``~/.cache/flyweight``), into which they
    are downloaded where they are nowhere.
    Raises :class:`TaskError` where they cannot be had or are not what they should be.
    """
    place = _FASHION.place(folder, (name for name, _ in FILES.values()), [DEBIAN]) or _download()
    return {part: _read(place / name, digest) for part, (name, digest) in FILES.items()}


def _download() -> Path:
    place = _FASHION.cache()
    for name, digest in FILES.values():
        if (place / name).exists():
            continue
        with _FASHION.fetched(URL + name) as answer:
            data = answer.read()
            _content(data, f"what {URL}{name} gave", digest)
            with atomic_path(place / name) as temporary:
                temporary.write_bytes(data)
    return place


def _read(path: Path, digest: str) -> NDArray[np.uint8]:
    data = _content(_FASHION.read(path), path, digest)
    # IDX: two zero bytes, the type (8: uint8), the number of dimensions, then each as a big-endian uint32.
    dimensions = data[3]
    shape = np.frombuffer(data, ">u4", dimensions, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _content(packed: bytes, where: Path | str, digest: str) -> bytes:
    try:
        data = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as error:
        raise TaskError(f"TaskError: {where} cannot be unpacked ({error}). Get it again. {_FASHION.ways}") from error
    return _FASHION.check(data, where, digest)
