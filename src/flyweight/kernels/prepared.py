"""What is made once of a layer's weights, and kept as long as these stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

_kept: dict[Hashable, tuple[Any, tuple[int, ...], tuple[StorageWeakRef, ...]]] = {}
_expired = torch.UntypedStorage._expired


def prepared(make: Callable[..., Any], tensors: tuple[Tensor | None, ...], told: tuple[Hashable, ...]) -> Any:
    """``make(*tensors, *told)``, made once for these tensors (by their memory and version) and what is ``told``.

    It is made anew after a tensor was changed in place (by ``load_state_dict``, an optimizer, ``copy_``; a change
    through ``.data`` torch does not count, so it goes unseen), and given up, once a tensor's memory is freed, when the
    next one is made. Memory is told rather than the object, for a compiled or loaded program has others of the same
    values. Tensors made in inference mode have no version, so nothing is kept of them.
    """
    try:
        key = make, told, *[None if t is None else (t.data_ptr(), t._version, t.numel()) for t in tensors]
    except RuntimeError:
        return make(*tensors, *told)
    found = _kept.get(key)
    if found is not None:
        for storage in found[1]:
            if _expired(storage):  # and its address, perhaps, another tensor's by now
                break
        else:
            return found[0]
    for other in [other for other, (_, storages, _) in _kept.copy().items() if any(map(_expired, storages))]:
        _kept.pop(other, None)
    made = make(*tensors, *told)
    storages = tuple(StorageWeakRef(t.untyped_storage()) for t in tensors if t is not None)  # type: ignore[no-untyped-call]
    _kept[key] = made, tuple(one.cdata for one in storages), storages
    return made
