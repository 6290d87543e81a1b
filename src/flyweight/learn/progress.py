"""How far training has come, as told to the modules that change with it, and to the user."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Progress:
    """Told to every sub-module's ``after_step(progress)``, and to ``Fit.after_step``, when an optimizer step is done.

    ``step`` counts the steps done, so it runs from 1 to ``total``; a part of a training has its part of these, of the
    ``total`` of the whole. ``optimizer`` is torch's, for techniques that reset a part of its state. ``scale`` is what
    half precision (fp16) multiplied the loss of this step by, and with it the gradients that hooks saw; None: 1. What
    ``after_step`` changes must live in parameters, buffers or train/eval modes: those are in a checkpoint, and a
    resumed run restores nothing else.
    """

    step: int
    total: int
    optimizer: torch.optim.Optimizer
    scale: torch.Tensor | None = None

    @property
    def fraction(self) -> float:
        """The part of training that is done, above 0 and up to 1."""
        return self.step / self.total
