"""The native library: where it lies, whether it is used and why not, and its loading. No torch here.

``FLYWEIGHT_KERNELS=none`` leaves it unused; ``FLYWEIGHT_LIBRARY`` names another build of it.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from pathlib import Path

from flyweight.core.errors import KernelsError
from flyweight.kernels.abi import FW_ABI, declare

DOMAIN = "flyweight: options.register_custom_ops_library(flyweight.kernels_library())"
"""The domain of the operations in files, which ONNX Runtime prints where it does not know them: it says the mend."""

NAME = "libflyweight_kernels.so"
_ENVIRONMENT = "FLYWEIGHT_LIBRARY"
_SWITCH = "FLYWEIGHT_KERNELS"
_CHECKOUT = Path(__file__).resolve().parents[3]
_AGAIN = (
    f"--editable {_CHECKOUT}" if (_CHECKOUT / "CMakeLists.txt").is_file() else "--force-reinstall PATH-OF-ITS-SOURCE"
)
_MEND = (
    f"have a C++ compiler (g++ or clang) and install flyweight again: pip install --no-deps {_AGAIN}"
    if sys.platform != "win32"
    else "there are none for Windows yet; Linux and macOS have them"
)


def path() -> Path:
    """Where the library lies or would lie: ``FLYWEIGHT_LIBRARY``, or beside this file."""
    named = os.environ.get(_ENVIRONMENT)
    return Path(named).absolute() if named else Path(__file__).resolve().with_name(NAME)


def why_not() -> str | None:
    """Why the library is not used, with the line that mends it; None where it is."""
    if os.environ.get(_SWITCH) == "none":
        return f"{_SWITCH}=none asks for none; unset it to use them"
    return _open(path())[1]


def available() -> bool:
    """Whether the native kernels are there and are used."""
    return why_not() is None


def kernels_library() -> str:
    """The path of the native library, for ``SessionOptions.register_custom_ops_library``.

    Raises:
        KernelsError: it is not built, or cannot be used; the message says why and the way out.
    """
    load()
    return str(path())


def load() -> ctypes.CDLL:
    """The library with the types of its functions declared (``kernels/abi.py``), loaded once.

    Raises:
        KernelsError: as ``kernels_library``.
    """
    reason = why_not()
    library = _open(path())[0]
    if reason is not None or library is None:
        raise KernelsError(f"KernelsError: the native kernels are not used: {reason}.")
    return library


def check(status: int, where: str) -> None:
    """Raises what the library says of the call ``where``, which gave back ``status``, if that is not 0.

    Raises:
        KernelsError: the library's own words, which say what, where, what it got and the way out.
    """
    if status:
        said = load().fw_error() or b"no reason given"
        raise KernelsError(f"KernelsError: {where}: {said.decode(errors='replace')}")


@functools.cache
def _open(file: Path) -> tuple[ctypes.CDLL | None, str | None]:
    """The library in ``file``, or why it cannot be used."""
    if not file.is_file():
        named = f"{_ENVIRONMENT} names {file}, where there is no file; build it, or unset the variable"
        return None, named if os.environ.get(_ENVIRONMENT) else f"{NAME} was not built; {_MEND}"
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        return None, f"{file} cannot be loaded ({error}); {_MEND}"
    missing = declare(library)
    if "fw_abi" in missing:
        return None, f"{file} is no library of flyweight's; {_MEND}"
    if (theirs := library.fw_abi()) != FW_ABI:
        return None, f"{file} was built for interface {theirs}, and this flyweight speaks {FW_ABI}; {_MEND}"
    if missing:
        return None, f"{file} lacks {', '.join(missing)}: it was built from other sources; {_MEND}"
    if library.fw_path() is None:  # what FLYWEIGHT_KERNELS asks for is unknown, or this processor has it not
        return None, (library.fw_error() or b"fw_path() told no reason").decode(errors="replace").rstrip(".")
    return library, None
