"""Exported programs (``.pt2``) to ``.tflite`` files, float or int8: run by the Python that has litert-torch.

python benchmarks/sparse_speed/to_tflite.py program.pt2 file.tflite [more.pt2 more.tflite ...] [--calibrate inputs.npz]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def main() -> None:
    """Reads the command line and writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="a program, and the file to make of it; and so on")
    parser.add_argument("--calibrate", help="make int8, with activations' ranges from these inputs (batch 1 each)")
    args = parser.parse_args()
    import litert_torch
    import torch

    for program, file in zip(args.files[::2], args.files[1::2], strict=True):
        exported = torch.export.load(program)
        converted = litert_torch.convert(exported.module(), exported.example_inputs[0])
        if args.calibrate:
            _quantized(converted, Path(file), args.calibrate)
        else:
            converted.export(file)


def _quantized(converted: Any, file: Path, inputs: str) -> None:
    import numpy as np
    from ai_edge_quantizer import quantizer, recipe

    float_file = file.with_suffix(".float.tflite")
    converted.export(str(float_file))
    maker = quantizer.Quantizer(str(float_file))
    maker.load_quantization_recipe(recipe.static_wi8_ai8())
    with np.load(inputs) as read:
        arrays = [read[name] for name in sorted(read.files)]
    calls = [{f"args_{i}": a[n : n + 1] for i, a in enumerate(arrays)} for n in range(len(arrays[0]))]
    maker.quantize(maker.calibrate({"serving_default": calls})).export_model(str(file), overwrite=True)
    float_file.unlink()


if __name__ == "__main__":
    main()
