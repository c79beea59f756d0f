"""JSON that says what it means: a key that stands twice is an error, not the last of the two."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str) -> Any:
    """Read JSON; ValueError where it is none, or where a key of an object stands twice.

    >>> read_json('{"rk3588": 1.7}')
    {'rk3588': 1.7}
    """
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose keys stand once each."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {next(key for key in keys if keys.count(key) > 1)} stands twice; remove one")
    return found
