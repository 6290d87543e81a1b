"""Sparse variational dropout: each weight learns its own noise, and those that are all noise go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from flyweight.compress.sparsify.l0_gates import check_bare, check_speed
from flyweight.compress.sparsify.noise import LocalNoise, Noise
from flyweight.compress.sparsify.targets import apart, layers
from flyweight.core.errors import FlyweightError
from flyweight.core.step import Step
from flyweight.core.task import Task
from flyweight.surgery.chain import attach


@dataclass(frozen=True)
class VariationalDropout(Step):
    """Gives each weight of the linear and convolutional layers a variance σ², for ``variational_kl`` to raise.

    In training a layer draws its outputs, ``y ~ N(layer(x; w), layer(x²; σ²))``; in evaluation, and in an exported
    file, it computes with w, so that outputs are at first what they were. log σ² starts at ``log_variance``.

        VariationalDropout(), Train(epochs, loss=penalized(variational_kl())), Settle(), Train(…)

    ``Settle`` takes away the weights of log α = log σ² − log w² above ``cut`` (at 3, over 95 % of dropout). Under Adam
    log σ² moves ``speed`` times as fast as other parameters; it has some ten units to go, so short trainings need 10 or
    more. ``exclude`` are globs of module names. A layer that a model does not call but reads the weight of, as
    ``nn.MultiheadAttention`` does, gets no noise. Raises :class:`UnsupportedError` where there is no layer, or gates.
    Source: Molchanov, Ashukha and Vetrov, 2017, arXiv:1701.05369, section 4.
    """

    log_variance: float = -10.0
    cut: float = 3.0
    speed: float = 1.0
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not -20 <= self.log_variance <= 0:
            raise FlyweightError(
                f"FlyweightError: VariationalDropout got log_variance={self.log_variance!r}. Give a number from -20 to "
                "0; -10 is the paper's."
            )
        if not 0 < self.cut < 8:
            raise FlyweightError(
                f"FlyweightError: VariationalDropout got cut={self.cut!r}. Give a number between 0 and 8, to which "
                "log α is clipped; 3 is the paper's."
            )
        check_speed("VariationalDropout", self.speed)

    def edit(self, model: nn.Module, task: Task) -> nn.Module:
        """Returns ``model`` with noise."""
        found = layers(model, self.exclude, "VariationalDropout")
        apart(model, "VariationalDropout", found)
        for name, layer in found:
            check_bare("VariationalDropout", name, layer)
        for _, layer in found:
            noise = Noise(layer.weight, self.log_variance, self.cut, self.speed)  # type: ignore[arg-type]
            attach(layer, noise)
            layer.register_forward_hook(LocalNoise(noise))
            noise.train(model.training)
        return model

    def replay(self, model: nn.Module, task: Task, state: Mapping[str, Tensor]) -> nn.Module:
        """The noise, all at its start."""
        return self.edit(model, task)
