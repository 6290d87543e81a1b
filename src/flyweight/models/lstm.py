"""A classifier of sequences by LSTM layers: of vectors, or of words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.core.errors import ShapeError
from flyweight.models.scaled import scaled


class LSTM(nn.Module):
    """What :func:`lstm` makes."""

    def __init__(self, depth: int, hidden: int, classes: int, channels: int, vocabulary: int | None) -> None:
        super().__init__()
        self.words = None if vocabulary is None else nn.Embedding(vocabulary, channels)
        self.lstm = nn.LSTM(channels, hidden, depth, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Sequences ``(N, T, channels)``, or ``(N, T)`` of words' numbers, to logits ``(N, classes)``."""
        states, _ = self.lstm(x if self.words is None else self.words(x))
        return self.head(states[:, -1])  # type: ignore[no-any-return]


def lstm(
    depth: int = 2, width: float = 1.0, classes: int = 10, channels: int = 28, vocabulary: int | None = None
) -> LSTM:
    """``depth`` LSTM layers of 128 · ``width`` cells; the last step's state goes to a linear classifier.

    i, f, g, o = σ, σ, tanh, σ (W x_t + U h_{t−1} + b), c_t = f ⊙ c_{t−1} + i ⊙ g, h_t = o ⊙ tanh c_t. Inputs
    ``(N, T, channels)`` floats, as an image's rows; with a ``vocabulary`` ``(N, T)`` integers, embedded in
    ``channels`` numbers each. Outputs ``(N, classes)``. U starts orthogonal gate by gate, W from Glorot's uniform
    distribution, biases at 0 but the forget gate's at 1, so that cells begin by remembering.
    Raises :class:`ShapeError` for no layer, or a width that is not above 0.
    Source: Hochreiter and Schmidhuber 1997, Neural Computation 9(8); Gers, Schmidhuber and Cummins 2000, the forget
    gate; Jozefowicz, Zaremba and Sutskever 2015, its bias of 1.
    """
    if depth < 1:
        raise ShapeError(f"ShapeError: an LSTM cannot have {depth} layers. Give a depth of 1 or more.")
    model = LSTM(depth, scaled(128, width), classes, channels, vocabulary)
    with torch.no_grad():
        for name, parameter in model.lstm.named_parameters():
            for place, gate in enumerate(parameter.chunk(4)):
                if name.startswith("weight_hh"):
                    nn.init.orthogonal_(gate)
                elif name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(gate)
                else:
                    gate.fill_(1.0 if place == 1 and name.startswith("bias_ih") else 0.0)
    return model
