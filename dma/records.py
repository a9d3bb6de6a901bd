"""Typed records that save to JSON: told apart by their format and version, and read strictly."""
from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Iterable
from typing import Any, ClassVar, TypeVar, cast

R = TypeVar("R", bound="Record")

KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a whole number",
         float: "a number", type(None): "null"}


class Record:
    """What a frozen dataclass inherits to be saved as JSON and read back.

    Its fields are numbers, texts, lists, dictionaries, dataclasses without a format of their own, and None where the
    type says so. A new version only adds fields with defaults: files of earlier versions are read, too.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Walk(Record):
    ...     FORMAT, NAME = "example/walk", "a report of a walk"
    ...     steps: int
    >>> Walk.from_json(Walk(3).to_json())
    Walk(steps=3)
    >>> Walk.from_json('{"format": "example/walk", "version": 1}')
    Traceback (most recent call last):
    ValueError: This is a report of a walk, but a damaged one: it lacks the field 'steps'.
    """

    FORMAT: ClassVar[str]  # what files of this kind are told by; never changes
    VERSION: ClassVar[int] = 1  # one more whenever fields are added
    NAME: ClassVar[str]  # what a record is called in messages, with its article

    def to_json(self) -> str:
        return json_text(self.FORMAT, self.VERSION, dataclasses.asdict(cast("Any", self)))

    @classmethod
    def from_json(cls: type[R], text: str) -> R:
        """Read what `to_json` wrote, in this version or an earlier one.

        Raises ValueError, in words, for text that is not JSON, for another format or a later version, and for fields
        that are missing, unknown, of another type or in contradiction.
        """
        content = _content(text, cls.NAME)
        if content.pop("format", None) != cls.FORMAT:
            raise ValueError(f"This JSON text is not {cls.NAME}.")
        version = content.pop("version", None)
        if version not in range(1, cls.VERSION + 1):
            raise ValueError(f"This is {cls.NAME} in format version {version}, but only versions up to {cls.VERSION} "
                             "are known.")
        try:
            record = _read(cls, content, "", version == cls.VERSION)
            record.check()
        except ValueError as error:
            raise ValueError(f"This is {cls.NAME}, but a damaged one: {error}.") from None
        return record

    def check(self) -> None:
        """Raise ValueError, with half a sentence, if fields contradict one another."""


def json_text(format_name: str, version: int, fields: dict[str, Any], *, ascii_only: bool = True) -> str:
    """Fields as indented JSON with their format and version, for a class that writes other fields than its own."""
    return json.dumps({"format": format_name, "version": version, **fields}, indent=1, ensure_ascii=ascii_only)


def read(text: str, kinds: Iterable[type[R]], name: str) -> R:
    """The record that `text` holds, of whichever of these kinds its format names.

    Raises ValueError where `Record.from_json` does; `name` is what any of them is called in messages.
    """
    found = _content(text, name).get("format")
    kind = next((kind for kind in kinds if found == kind.FORMAT), None)
    if kind is None:
        raise ValueError(f"This JSON text is not {name}.")
    return kind.from_json(text)


def _content(text: str, name: str) -> dict[str, Any]:
    """The JSON object in a text; raises ValueError if there is none."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"This is not {name}: it is not JSON ({error}).") from None
    if not isinstance(content, dict):
        raise ValueError(f"This JSON text is not {name}.")
    return content


def _read(kind: type, content: dict[str, Any], place: str, complete: bool) -> Any:
    """The dataclass `kind` of these fields. `place` is where they stand ("" for the whole record); if not `complete`,
    those with a default may be missing."""
    hints, fields, owner = typing.get_type_hints(kind), dataclasses.fields(kind), place or "it"
    if unknown := content.keys() - {field.name for field in fields}:
        raise ValueError(f"{owner} has an unknown field {min(unknown)!r}")
    values = {}
    for field in fields:
        if field.name in content:
            where = f"{place}.{field.name}" if place else field.name
            values[field.name] = _value(hints[field.name], content[field.name], where, complete)
        elif complete or field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{owner} lacks the field {field.name!r}")
    return kind(**values)


def _value(hint: Any, value: Any, place: str, complete: bool) -> Any:
    """The value of type `hint` that JSON holds as `value`."""
    choices = typing.get_args(hint)
    if type(None) in choices:
        if value is None:
            return None
        return _value(next(choice for choice in choices if choice is not type(None)), value, place, complete)
    kind = dict if dataclasses.is_dataclass(hint) else typing.get_origin(hint) or hint
    # Whole numbers are numbers, but true and false are not, which Python counts among them.
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"{place} is {KINDS[type(value)]} in place of {KINDS[kind]}")
    content: Any = value
    if dataclasses.is_dataclass(hint):
        return _read(cast("type", hint), content, place, complete)
    if kind is list:
        return [_value(choices[0], entry, f"{place}[{index}]", complete) for index, entry in enumerate(content)]
    return value
