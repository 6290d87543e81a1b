"""Several processes that train one model together, as ``torchrun`` starts them."""

from __future__ import annotations

import os

import torch


def crew() -> tuple[int, int]:
    """This process's rank and how many there are; (0, 1) without ``torchrun``.

    >>> crew()
    (0, 1)
    """
    if "LOCAL_RANK" not in os.environ:
        return 0, 1
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def agreed(value: int) -> int:
    """The first process's ``value``, in every process.

    What is kept in a store is for the first process to say: another may look a moment later and see more, train
    where the first does not, and wait for it for ever.
    """
    if crew()[1] == 1:
        return value
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group()
    told = torch.tensor(value)
    torch.distributed.broadcast(told, 0)
    return int(told)
