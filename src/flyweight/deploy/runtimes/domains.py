"""Whose operations an ``.onnx`` file asks for, read from its end without reading its weights."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_OPSETS, _DOMAIN = 8, 1
"""The numbers of ``opset_import`` in a ModelProto, and of ``domain`` in an OperatorSetIdProto."""

_SIZES = {1: 8, 5: 4}
_LONGEST = 4096


def domains(path: Path) -> frozenset[str]:
    """The domains that the file at ``path`` imports; none of a file that cannot be read so.

    Of the fields of the file only those are read; the graph, with all weights, is stepped over.
    """
    found = set()
    try:
        with path.open("rb") as file:
            end = path.stat().st_size
            while file.tell() < end:
                key = _number(file)
                kind = key & 7
                if kind == 2:
                    length = _number(file)
                    if key >> 3 == _OPSETS and length <= _LONGEST:
                        found.add(_domain(file.read(length)))
                    else:
                        file.seek(length, 1)
                elif kind == 0:
                    _number(file)
                else:
                    file.seek(_SIZES[kind], 1)
    except (OSError, ValueError, KeyError):
        return frozenset()
    return frozenset(found)


def _domain(message: bytes) -> str:
    """The domain that an OperatorSetIdProto names."""
    import io

    with io.BytesIO(message) as file:
        while file.tell() < len(message):
            key = _number(file)
            if key & 7 == 0:
                _number(file)
            elif key == _DOMAIN << 3 | 2:
                return file.read(_number(file)).decode()
            else:
                raise ValueError("no OperatorSetIdProto")
    return ""


def _number(file: BinaryIO) -> int:
    """The number that is written next, seven bits a byte, the lowest first."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends within a number")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number that has no end")
