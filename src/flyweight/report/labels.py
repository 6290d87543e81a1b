"""Where to write the labels of a picture, so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NARROW, _BROAD = set("ijlt.,:;|!'()[]{}fr I·"), set("mwMW%@×→")


@dataclass(frozen=True)
class Box:
    """An upright rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across * down if across > 0 and down > 0 else 0.0

    def inside(self, other: Box) -> bool:
        """Whether no part of this lies outside ``other``."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )

    @property
    def area(self) -> float:
        """Square pixels."""
        return (self.right - self.left) * (self.bottom - self.top)


def text_width(text: str, size: float) -> float:
    """About how wide ``text`` is in a sans-serif of ``size`` pixels; rather too wide than too narrow."""
    return size * sum(0.36 if c in _NARROW else 0.88 if c in _BROAD else 0.68 if c.isupper() else 0.57 for c in text)


def place(
    wanted: Sequence[tuple[float, float, str]], obstacles: Sequence[Box], frame: Box, size: float
) -> list[Box | None]:
    """A box for each label ``(x, y, text)`` beside its point, the first first; None where it would cover too much.

    Eight places around the point are tried at two distances; the one that covers least wins. No label ever covers
    another, and none covers more than a third of its own area of ``obstacles``.
    """
    taken: list[Box] = []
    found: list[Box | None] = []
    for x, y, text in wanted:
        width, height = text_width(text, size), size * 1.25
        best, least = None, height * width / 3
        for rank, box in enumerate(_around(x, y, width, height)):
            if not box.inside(frame) or any(box.overlap(t) > 0 for t in taken):
                continue
            covered = sum(box.overlap(o) for o in obstacles) * 2 + rank * 2
            if covered < least:
                best, least = box, covered
        found.append(best)
        if best is not None:
            taken.append(best)
    return found


def _around(x: float, y: float, width: float, height: float) -> list[Box]:
    boxes = []
    for gap in (9.0, 16.0):
        near = gap * 0.6
        for left, top in (
            (x - width - near, y - height - near),
            (x + near, y + near),
            (x - width / 2, y - height - gap),
            (x + gap, y - height / 2),
            (x - width - gap, y - height / 2),
            (x - width / 2, y + gap),
            (x + near, y - height - near),
            (x - width - near, y + near),
        ):
            boxes.append(Box(left, top, left + width, top + height))
    return boxes
