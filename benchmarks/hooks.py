"""Functions replaced for a while, in a class and in all that derive from it: how time is booked from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Places = Iterable[tuple[str, type, tuple[str, ...]]]
"""(part, class, names of its functions)"""
Wrap = Callable[[str, Callable[..., Any]], Callable[..., Any]]
"""(part, function) -> what stands in its place"""


def family(owner: type) -> list[type]:
    """Return a class and all that derive from it."""
    return [owner, *(heir for child in owner.__subclasses__() for heir in family(child))]


@contextmanager
def hooked(places: Places, wrap: Wrap) -> Iterator[None]:
    """Wrap every function that is named, and take the hooks out again."""
    found = [(part, owner, name, vars(owner)[name]) for part, base, names in places for owner in family(base)
             for name in names if name in vars(owner)]
    for part, owner, name, function in found:
        setattr(owner, name, wrap(part, function))
    try:
        yield
    finally:
        for _, owner, name, function in found:
            setattr(owner, name, function)
