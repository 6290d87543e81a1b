"""``flyweight predict``: a model file on arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flyweight.core.errors import FlyweightError


def predict(options: Any) -> int:
    """Runs a deployed model on arrays, without torch."""
    import numpy as np

    from flyweight.core.errors import ShapeError
    from flyweight.deploy.runtimes.open import open_artifact

    session = open_artifact(Path(options.model), options.runtime, options.threads)
    arrays = []
    for name in options.inputs:
        try:
            arrays.append(np.load(name, allow_pickle=False))
        except (OSError, ValueError, EOFError) as error:
            raise FlyweightError(
                f"FlyweightError: {name} cannot be read as a numpy array: {error}. Write it with "
                "numpy.save(path, array), without objects in it."
            ) from error
    if len(arrays) != len(session.inputs):
        wanted = "; ".join(map(str, session.inputs))
        raise ShapeError(
            f"ShapeError: {options.model} takes {len(session.inputs)} input(s) ({wanted}), and got {len(arrays)} "
            "file(s). Give one .npy file an input, in this order."
        )
    arrays = [_batched(array, port) for array, port in zip(arrays, session.inputs, strict=True)]
    outputs = session(*arrays)
    names = [port.name for port in session.outputs]
    if options.out:
        from flyweight.core.atomic import atomic_path

        with atomic_path(Path(options.out)) as temporary, temporary.open("wb") as file:
            if len(outputs) > 1:
                named: dict[str, Any] = dict(zip(names, outputs, strict=True))
                np.savez(file, **named)
            else:
                np.save(file, outputs[0])
    if options.json:
        print(json.dumps({name: array.tolist() for name, array in zip(names, outputs, strict=True)}))
    elif not options.out:
        for name, array in zip(names, outputs, strict=True):
            _print_output(name, array, options.top)
    return 0


def _batched(array: Any, port: Any) -> Any:
    import numpy as np

    # One example without its batch dimension is what people save; a float64 array is what numpy makes of lists.
    if array.ndim == len(port.shape) - 1:
        array = array[None]
    wanted = np.dtype(port.dtype)
    return array.astype(wanted) if array.dtype != wanted and array.dtype.kind == wanted.kind else array


def _print_output(name: str, array: Any, top: int) -> None:
    print(f"{name}: {array.dtype}{list(array.shape)}")
    for index, row in enumerate(array.reshape(len(array), -1) if array.ndim else array.reshape(1, 1)):
        best = row.argsort()[::-1][:top]
        print(f"  {index}: " + "  ".join(f"[{place}] {row[place]:.6g}" for place in best))
