"""A recipe's JSON in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

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
    told: list[str] = []
    loss: Any = None
    aware = False
    for step in steps:
        text = step_words(step)
        if aware and _is(step, "Train"):
            # The training that follows aware quantization is its second half, and often has the same loss.
            again = isinstance(loss, Mapping) and step.get("loss") == loss
            text = _train({**step, "loss": {**loss, "teachers": []}} if again else step, "") or text
        aware = _is(step, "Quantize") and bool(step.get("aware"))
        loss = step.get("loss") if _is(step, "Train") else loss
        told.append(text)
    return _ARROW.join(filter(None, told)) or "as it came"


def step_words(step: Any) -> str:
    """One step of a recipe in words."""
    if not isinstance(step, Mapping) or "use" not in step:
        return _value(step)
    phrase = next((phrase for name, phrase in _PHRASES.items() if _is(step, name)), None)
    return (phrase(step) if phrase is not None else None) or _plain(step)


def _resize(step: Mapping[str, Any]) -> str | None:
    width = step.get("width")
    return f"width {_number(width)}{_seed(step)}" if _is_number(width) else None


def _train(step: Mapping[str, Any], verb: str = "trained ") -> str | None:
    epochs = step.get("epochs")
    if not _is_number(epochs):
        return None
    means = [*_augmentations(step), *_objective(step.get("loss"))]
    with_ = f" with {', '.join(means)}" if means else ""
    return f"{verb}{_number(epochs)} epoch{'' if epochs == 1 else 's'}{with_}{_seed(step)}"


def _quantize(step: Mapping[str, Any]) -> str | None:
    bits, activations = step.get("bits"), step.get("activations", 8)
    if not _is_number(bits):
        return None
    told = f"int{_number(bits)}"
    if activations is None:
        told += " weights"
    elif activations != bits:
        told += f" weights, int{_value(activations)} activations"
    ranges = step.get("ranges")
    if step.get("aware"):
        told += ", aware"
    elif isinstance(ranges, Mapping) and "use" in ranges and _name(ranges) != "minmax":
        told += f", {_spaced(_name(ranges))} ranges"
    kept = _listed(step.get("exclude"))
    return told + (f", float: {', '.join(map(_value, kept))}" if kept else "")


def _prune(step: Mapping[str, Any]) -> str | None:
    ratio, structure = step.get("ratio"), step.get("structure")
    if not _is_number(ratio) or not _plug(structure):
        return None
    names = [_name(plug) for key in ("score", "distribution", "schedule") if _plug(plug := step.get(key))]
    how = [_spaced(name.strip("_")) for name in names if name not in ("uniform", "one_shot")]
    multiple = structure.get("round_to")
    how += [f"in multiples of {_value(multiple)}"] if _is_number(multiple) and multiple > 1 else []
    kept = _listed(step.get("exclude"))
    how += [f"whole: {', '.join(map(_value, kept))}"] if kept else []
    return f"{_share(ratio)} of {_units(structure)} pruned" + (f" ({', '.join(how)})" if how else "")


def _units(structure: Mapping[str, Any]) -> str:
    """What a structure of ours takes away together."""
    name = _name(structure)
    if name == "block":
        return f"{_value(structure.get('rows'))}×{_value(structure.get('columns'))} blocks"
    if name == "n_m":
        return f"weights, {_value(structure.get('n'))}:{_value(structure.get('m'))},"
    return {"element": "weights"}.get(name, f"{_spaced(name)}s")


def _regrow(step: Mapping[str, Any]) -> str | None:
    ratio, rule, tile = step.get("ratio"), step.get("rule"), _listed(step.get("block"))
    if not _is_number(ratio) or not _plug(rule):
        return None
    blocks = f" in {_value(tile[0])}×{_value(tile[1])} blocks" if len(tile) == 2 and list(tile) != [1, 1] else ""
    return f"{_share(ratio)} sparse{blocks}, {_RULES.get(_name(rule), _name(rule).strip('_'))}{_seed(step)}"


def _lottery(step: Mapping[str, Any]) -> str | None:
    ratio, train = step.get("ratio"), step.get("train")
    if not _is_number(ratio) or not isinstance(train, Mapping):
        return None
    how = [f"rewound to step {_value(step['rewind'])}"] if step.get("rewind") else []
    how += ["from chance"] if step.get("control") else []
    each = _train(train) or _value(train)
    return f"lottery ticket of {_share(1 - ratio)}{''.join(f', {h}' for h in how)}, each round {each}"


def _plug(thing: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(thing, Mapping) and "use" in thing


def _share(ratio: float) -> str:
    return f"{100 * ratio:.4g} %"


def _seed(step: Mapping[str, Any]) -> str:
    return f" (seed {_value(step['seed'])})" if step.get("seed") else ""


def _is(step: Any, name: str) -> bool:
    return isinstance(step, Mapping) and re.fullmatch(rf"flyweight\..*\.{name}", str(step.get("use", ""))) is not None


_PHRASES: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "Resize": _resize,
    "Train": _train,
    "Quantize": _quantize,
    "Prune": _prune,
    "Regrow": _regrow,
    "LotteryTicket": _lottery,
    "Remove": lambda step: "what is zero removed" if not _listed(step.get("exclude")) else None,
}

_RULES = {"rigl": "RigL", "snfs": "SNFS", "set_": "SET"}


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


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
