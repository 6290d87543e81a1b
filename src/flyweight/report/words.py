"""A recipe's JSON in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_ARROW = " → "


def words(recipe: Any) -> str:
    """``recipe`` (JSON, as :func:`flyweight.core.serial.to_json` wrote it) in words, step after step.

    Steps that this file has no phrase for, a user's own among them, are told by their name and fields.

    >>> words([{"use": "flyweight.models.resize.Resize", "width": 0.25}, {"use": "mine.PruneHeads", "ratio": 0.5}])
    'width 0.25 → prune heads (ratio 0.5)'
    >>> words([])
    'as it came'
    """
    steps = recipe if isinstance(recipe, list | tuple) else [recipe]
    told = [text for step in steps if (text := step_words(step))]
    return _ARROW.join(told) or "as it came"


def step_words(step: Any) -> str:
    """One step of a recipe in words."""
    if not isinstance(step, Mapping) or "use" not in step:
        return _value(step)
    phrase = _PHRASES.get(_name(step))
    told = phrase(step) if phrase is not None and str(step["use"]).startswith("flyweight.") else None
    return told or _plain(step)


def _resize(step: Mapping[str, Any]) -> str | None:
    width = step.get("width")
    return f"width {_number(width)}" if _is_number(width) else None


def _train(step: Mapping[str, Any]) -> str | None:
    epochs = step.get("epochs")
    if not _is_number(epochs):
        return None
    told = f"trained {_epochs(epochs)}"
    means = [*_augmentations(step), *_objective(step.get("loss"))]
    return told + (f" with {', '.join(means)}" if means else "")


def _quantize(step: Mapping[str, Any]) -> str | None:
    bits = step.get("bits", step.get("weight_bits"))
    if not _is_number(bits):
        return None
    told = f"int{_number(bits)}"
    ranges = step.get("ranges")
    if isinstance(ranges, Mapping) and "use" in ranges:
        told += f", {_spaced(_name(ranges))} ranges"
    aware = step.get("aware", step.get("train"))
    if isinstance(aware, Mapping) and "use" in aware:
        return f"{told}, aware{_ARROW}{_tuning(aware)}"
    return told + (", aware" if aware is True else "")


def _aware(step: Mapping[str, Any]) -> str | None:
    inner = step.get("quantize")
    bits = inner.get("bits") if isinstance(inner, Mapping) else step.get("bits")
    head = f"int{_number(bits)}, aware" if _is_number(bits) else "aware"
    tuned = _tuning(step)
    return f"{head}{_ARROW}{tuned}" if tuned else None


def _tuning(aware: Mapping[str, Any]) -> str:
    inner = aware.get("train")
    holder = inner if isinstance(inner, Mapping) and "epochs" in inner else aware
    epochs = holder.get("epochs")
    if not _is_number(epochs):
        return _plain(aware)
    means = [*_augmentations(holder), *_objective(holder.get("loss"))]
    return _epochs(epochs) + (f" with {', '.join(means)}" if means else "")


_PHRASES: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "Resize": _resize,
    "Train": _train,
    "Quantize": _quantize,
    "Aware": _aware,
}


def _augmentations(step: Mapping[str, Any]) -> list[str]:
    given = step.get("augment")
    if given is True:
        return ["augmentation"]
    return [_spaced(_name(g)) if isinstance(g, Mapping) and "use" in g else _value(g) for g in _listed(given) if g]


def _objective(loss: Any) -> list[str]:
    """The words for a loss, the outer first: objectives nest, as mixup does around distillation."""
    if not isinstance(loss, Mapping) or "use" not in loss:
        return []
    inner = [text for value in loss.values() for text in _objective(value)]
    name = _name(loss)
    if name != "distilled":
        return [{"mixed": "mixup"}.get(name, _spaced(name)), *inner]
    told = [f"T={_number(loss['temperature'])}"] if _is_number(loss.get("temperature")) else []
    teachers = [words(t) for t in _listed(loss.get("teachers"))]
    if teachers:
        told.append(f"teacher{'s' if len(teachers) > 1 else ''}: {'; '.join(teachers)}")
    return ["distilled" + (f" ({', '.join(told)})" if told else ""), *inner]


def _plain(thing: Mapping[str, Any]) -> str:
    fields = [f"{key.replace('_', ' ')} {_value(value)}" for key, value in thing.items() if key != "use"]
    return _spaced(_name(thing)) + (f" ({', '.join(fields)})" if fields else "")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _plain(value) if "use" in value else ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return _number(value) if _is_number(value) else str(value)


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else []


def _name(thing: Mapping[str, Any]) -> str:
    return str(thing["use"]).rsplit(".", 1)[-1]


def _spaced(name: str) -> str:
    """``PruneChannels`` → ``prune channels``; a name of one case stays as it is."""
    apart = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).replace("_", " ").strip()
    return apart.lower() if apart != name or name.istitle() else apart


def _epochs(value: Any) -> str:
    return f"{_number(value)} epoch{'' if value == 1 else 's'}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
