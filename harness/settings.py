"""Settings of methods and tasks: from command-line text or Python values to a typed, frozen config.

A config is a dataclass; the annotations of its fields say how text is read. On the command line a method is
``name`` or ``name:field=value+field=value``; the items of a tuple are separated by ``/``. A separator that
belongs to a value is doubled (``lr=1e++5``).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from harness.errors import HarnessError, UsageError, unknown

C = TypeVar("C")

_PLACE = "harness.place"
_WORDS = {"true": True, "false": False}
_EXAMPLES: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def split(text: str, separator: str) -> list[str]:
    """Cut at every single ``separator``; a doubled one stands for itself."""
    parts = [""]
    position = 0
    while position < len(text):
        if text[position] != separator:
            parts[-1] += text[position]
        elif text[position + 1 : position + 2] == separator:
            parts[-1] += separator
            position += 1
        else:
            parts.append("")
        position += 1
    return parts


def join(parts: Iterable[str], separator: str) -> str:
    """The inverse of :func:`split` for parts that are not empty and do not begin with the separator."""
    return separator.join(part.replace(separator, separator * 2) for part in parts)


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a config, as ``harness list`` shows it."""

    name: str
    type: str
    default: str


def settings_of(config: type) -> tuple[Setting, ...]:
    """The fields of a config class with their types and defaults, as text."""
    hints = typing.get_type_hints(config)
    return tuple(
        Setting(field.name, type_name(hints[field.name]), _default_text(field))
        for field in dataclasses.fields(config)
        if field.init
    )


def build_config(config: type[C], given: Mapping[str, object], owner: str) -> C:
    """A ``config`` from text or Python values; ``owner`` names the method or task in errors.

    Raises UsageError for an unknown field, a value of the wrong type or one that the config refuses.
    """
    hints = _hints(config)  # type: ignore[arg-type]
    names = [field.name for field in dataclasses.fields(config) if field.init]  # type: ignore[arg-type]
    values = {}
    for name, value in given.items():
        if name not in names:
            if not names:
                raise UsageError(f"{owner} has no settings, so {name!r} cannot be set; leave it out")
            raise unknown("setting", name, names, of=owner)
        try:
            values[name] = _convert(value, hints[name])
        except ValueError:
            raise UsageError(
                f"{owner}: {name}={to_text(value)!r} is not {type_name(hints[name])}; "
                f"give {_rule(hints[name])}"
            ) from None
    try:
        return config(**values)
    except HarnessError:
        raise
    except (TypeError, ValueError) as error:
        raise UsageError(f"{owner}: {error}") from error


@functools.lru_cache(maxsize=256)
def _hints(config: type) -> Mapping[str, Any]:
    """The annotations of a config's fields; a report builds the same few configs for thousands of cells."""
    return typing.get_type_hints(config)


def config_json(config: object) -> dict[str, Any]:
    """Every field of a config, defaults included, as JSON values."""
    fields = dataclasses.fields(config)  # type: ignore[arg-type]
    return {field.name: _json(getattr(config, field.name)) for field in fields if field.init}


def place() -> str:
    """A field that says where something lies, by default nowhere: no part of a cell's identity.

    What lies there must be: another field holds its fingerprint.
    """
    made: str = dataclasses.field(default="", metadata={_PLACE: True})
    return made


def split_places(config: object) -> tuple[dict[str, Any], dict[str, str]]:
    """A config's fields as JSON values: what enters a cell's identity, and apart from it the places."""
    places = {field.name for field in dataclasses.fields(config) if _PLACE in field.metadata}  # type: ignore[arg-type]
    values = config_json(config)
    identity = {name: value for name, value in values.items() if name not in places}
    return identity, {name: value for name, value in values.items() if name in places}


def changed(config: object) -> dict[str, Any]:
    """The fields that differ from their defaults, as JSON values."""
    fields = dataclasses.fields(config)  # type: ignore[arg-type]
    return {
        field.name: _json(getattr(config, field.name))
        for field in fields
        if field.init and getattr(config, field.name) != _default(field)
    }


def to_text(value: object) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return join(map(to_text, value), "/")
    return str(value)


def type_name(hint: object) -> str:
    """A readable name of an annotation."""
    if hint is type(None):
        return "none"
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(map(to_text, typing.get_args(hint)))
    if _is_union(hint):
        return " or ".join(map(type_name, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        return "tuple of " + ", ".join(type_name(item) for item in typing.get_args(hint) if item is not ...)
    return getattr(hint, "__name__", str(hint))


def _rule(hint: object) -> str:
    if typing.get_origin(hint) is Literal or hint is type(None):
        return type_name(hint)
    if _is_union(hint):
        return " or ".join(map(_rule, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        items = typing.get_args(hint)
        if len(items) == 2 and items[1] is ...:
            return f"items separated by '/', each {_rule(items[0])}"
        return f"{len(items)} items separated by '/': " + ", ".join(map(_rule, items))
    return _EXAMPLES.get(hint, type_name(hint))


def _is_union(hint: object) -> bool:
    return typing.get_origin(hint) in (Union, types.UnionType)


def _convert(value: object, hint: object) -> object:
    """``value`` as the annotation wants it; raises ValueError."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if _is_union(hint):
        return _first_of(value, sorted(arguments, key=lambda item: item is not type(None)))
    if origin is Literal:
        for option in arguments:
            if value == option and type(value) is type(option):
                return option
            if isinstance(value, str) and value == to_text(option):
                return option
        raise ValueError
    if origin is tuple:
        return _convert_tuple(value, arguments)
    return _convert_plain(value, hint)


def _first_of(value: object, hints: Iterable[object]) -> object:
    for hint in hints:
        try:
            return _convert(value, hint)
        except ValueError:
            continue
    raise ValueError


def _convert_tuple(value: object, arguments: tuple[object, ...]) -> tuple[object, ...]:
    if isinstance(value, str):
        items: list[object] = list(split(value, "/")) if value else []
    elif isinstance(value, list | tuple):
        items = list(value)
    else:
        raise ValueError
    if len(arguments) == 2 and arguments[1] is ...:
        return tuple(_convert(item, arguments[0]) for item in items)
    if len(items) != len(arguments):
        raise ValueError
    return tuple(_convert(item, hint) for item, hint in zip(items, arguments, strict=True))


def _convert_plain(value: object, hint: object) -> object:
    if hint is type(None):
        if value is None or value == "none":
            return None
        raise ValueError
    if hint is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _WORDS:
            return _WORDS[value.lower()]
        raise ValueError
    if isinstance(value, bool):
        raise ValueError
    if hint is int and isinstance(value, int | str):
        return int(value)
    if hint is float and isinstance(value, int | float | str):
        number = float(value)
        if math.isnan(number):
            raise ValueError
        return number
    if hint is str and isinstance(value, str):
        return value
    if hint is Path and isinstance(value, str | Path) and str(value):
        return Path(value)
    raise ValueError


def _json(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _default_text(field: dataclasses.Field[Any]) -> str:
    default = _default(field)
    return "required" if default is dataclasses.MISSING else to_text(default)
