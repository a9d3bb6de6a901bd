"""JSON files of typed records, told apart by the name of their format and its version."""
from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any


def to_json(format_name: str, version: int, record: Any) -> str:
    """A frozen dataclass as indented JSON with its format and version."""
    return json.dumps({"format": format_name, "version": version, **asdict(record)}, indent=1)


def fields_of(text: str, what: str, format_name: str, version: int) -> dict:
    """The fields of a record that `to_json` wrote, in this version or an earlier one.

    Raises ValueError with a sentence for the user when the text is anything else; `what` names the record in it.

    >>> fields_of('{"format": "f", "version": 1, "a": 2}', "a report of something", "f", 1)
    {'a': 2}
    """
    data = content(text, what)
    if data.pop("format", None) != format_name:
        raise ValueError(f"This JSON file is not {what}: choose a file that Save Report wrote.")
    found = data.pop("version", None)
    if found not in range(1, version + 1):
        raise ValueError(f"This report has format version {found}, but this version of the node pack reads versions up "
                         f"to {version}: update the node pack.")
    return data


def content(text: str, what: str) -> dict:
    """The JSON object in a text; raises ValueError if there is none."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise ValueError(f"This is not {what}: it is not JSON ({error}).") from None
    if not isinstance(data, dict):
        raise ValueError(f"This JSON file is not {what}: choose a file that Save Report wrote.")
    return data


def damaged(error: Exception) -> ValueError:
    return ValueError(f"This report is damaged: {error}.")
