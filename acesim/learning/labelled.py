"""Labelled examples for the classification task: scikit-learn's digits, or an .npz file with X and y.

What is held out is a fixed share of every class, evenly spread over the order of the data, never at random and
the same for every seed; or what the file itself holds out (X_test and y_test).
"""

from __future__ import annotations

import hashlib
import importlib
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.tasks import HELD_OUT

if TYPE_CHECKING:
    from acesim.scenario.tasks import ClassData

Array = NDArray[Any]

SMALLEST, LARGEST = 1e-140, 1e140
"""Sums of squares of what lies beyond leave the range of floats: no mean or deviation can be told."""


class Examples(NamedTuple):
    """inputs [N, features], as they came; labels int [N], classes 0 .. K - 1."""

    inputs: Array
    labels: NDArray[np.int64]


class Labelled(NamedTuple):
    """A data set: what is trained on, what is scored, the shape of an example, and what identifies the data."""

    training: Examples
    held_out: Examples
    shape: tuple[int, ...]
    classes: int
    fingerprint: str


def read(spec: ClassData) -> Labelled:
    """Return the data a scenario asks for.

    raises   ScenarioError naming what is missing, of the wrong shape, not finite, or too little to score
    """
    arrays = _digits() if spec.files is None else _file(spec.files)
    _sound(arrays, spec)
    shape = arrays["X"].shape[1:]
    shape = (*shape, 1) if len(shape) == 2 else shape
    classes = np.unique(arrays["y"])
    parts = {suffix: Examples(arrays["X" + suffix].reshape(len(arrays["X" + suffix]), -1),
                              np.searchsorted(classes, arrays["y" + suffix]).astype(np.int64))
             for suffix in ("", "_test") if "X" + suffix in arrays}
    training, held_out = parts[""], parts.get("_test")
    if held_out is None:
        share = spec.held_out or HELD_OUT
        training, held_out = split(training, share)
        if not len(held_out.labels):
            raise _wrong(spec, "held_out", share, "leaves nothing to score; hold out more, or give more data")
    return Labelled(training, held_out, shape, len(classes), fingerprint(arrays))


def split(examples: Examples, share: float) -> tuple[Examples, Examples]:
    """Hold out a share of every class, evenly spread over its order; at least one example of each is trained on.

    >>> parts = split(Examples(np.arange(6)[:, None], np.array([0, 1, 0, 1, 1, 1])), 0.5)
    >>> parts[1].inputs[:, 0].tolist()
    [2, 3, 5]
    """
    held = np.zeros(len(examples.labels), bool)
    for label in np.unique(examples.labels):
        members = np.flatnonzero(examples.labels == label)
        ranks = np.arange(len(members) + 1) * share
        held[members] = np.diff(ranks.astype(np.int64)) > 0
    return Examples(*(part[~held] for part in examples)), Examples(*(part[held] for part in examples))


def fingerprint(arrays: dict[str, Array]) -> str:
    """Return the SHA-256 of all arrays: names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


# ---- where it comes from

def _digits() -> dict[str, Array]:
    """Return the 1797 images of 8 x 8 pixels of the UCI test set of handwritten digits."""
    try:
        found = importlib.import_module("sklearn.datasets").load_digits()
    except ModuleNotFoundError as error:
        raise ScenarioError([Problem(
            ("task", "data", "source"), "digits",
            f"comes with scikit-learn, which is not installed ({error.name} is missing): pip install acesim[images], "
            "or give data of your own: {files: \"x.npz\"}")]) from error
    return {"X": found.images, "y": found.target}


def _file(path: str) -> dict[str, Array]:
    """Return the arrays X, y and, where there are any, X_test, y_test of a file; nothing in it is ever run."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("X", "y", "X_test", "y_test") if name in found}
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray):  # numpy hands out the bytes of what does not begin as an array
                    raise ValueError(f"{name} is no array")
            return arrays
    except Exception as error:  # zipfile, its codecs and numpy's parser raise all kinds over a damaged file
        raise ScenarioError([Problem(("task", "data", "files"), path,
                                     f"cannot be read as an .npz of plain arrays: {error}")]) from error


# ---- what is wrong with it

def _wrong(spec: ClassData, key: str, value: object, rule: str) -> ScenarioError:
    return ScenarioError([Problem(("task", "data", key), value, rule)])


def _sound(arrays: dict[str, Array], spec: ClassData) -> None:
    """Raise ScenarioError where the arrays are not labelled examples."""
    def fail(rule: str, key: str = "files", value: object = None) -> NoReturn:
        raise _wrong(spec, key, spec.files if value is None else value, rule)

    for suffix in ("", "_test") if {"X_test", "y_test"} & set(arrays) else ("",):
        for name in ("X" + suffix, "y" + suffix):
            if name not in arrays:
                fail(f"holds no {name}; wants X [N, ...] and y [N] (and X_test, y_test, both or none)")
        problem = _unsound(arrays["X" + suffix], arrays["y" + suffix], suffix)
        if problem:
            fail(problem)
    if "X_test" in arrays:
        if arrays["X_test"].shape[1:] != arrays["X"].shape[1:]:
            fail(f"X_test {arrays['X_test'].shape} and X {arrays['X'].shape} must agree in all but the first axis")
        unknown = np.setdiff1d(arrays["y_test"], arrays["y"])
        if unknown.size:
            fail(f"y_test holds the class {unknown[0]}, which y does not")
        if spec.held_out is not None:
            fail("the file brings its own X_test; leave held_out away", "held_out", spec.held_out)
    if len(np.unique(arrays["y"])) < 2:
        fail("y holds only one class; needs at least 2")


def _unsound(inputs: Array, labels: Array, suffix: str) -> str | None:
    """Say what is wrong with one pair of arrays."""
    if inputs.dtype.kind not in "biuf":
        return f"X{suffix} holds {inputs.dtype}; must hold numbers"
    if labels.dtype.kind not in "biuU":
        return f"y{suffix} holds {labels.dtype}; must hold classes: whole numbers or text"
    if labels.ndim != 1 or inputs.ndim not in (2, 3, 4) or len(inputs) != len(labels) or not inputs.size:
        return (f"X{suffix} {inputs.shape} and y{suffix} {labels.shape} must be [N, features], [N, height, width] or "
                "[N, height, width, channels], and [N], with the same N > 0")
    wrong = ~np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
    if wrong.any():
        return f"X{suffix} has {int(wrong.sum())} examples that are not finite, first number {int(np.argmax(wrong))}"
    return _out_of_range(inputs, suffix)


def _out_of_range(inputs: Array, suffix: str) -> str | None:
    """Say which channel or feature cannot be normalised; what is only scored may be as small as it likes."""
    columns = inputs.reshape(-1, 1 if inputs.ndim == 3 else inputs.shape[-1])
    peaks = np.abs(np.stack([columns.min(axis=0), columns.max(axis=0)]).astype(np.longdouble)).max(axis=0)
    wrong = (peaks > LARGEST) | ((peaks > 0) & (peaks < SMALLEST) & (not suffix))
    if wrong.any():
        column = int(np.argmax(wrong))
        return (f"X{suffix} reaches {peaks[column]:.3g} in its channel or feature {column}; must be 0, or "
                f"{SMALLEST:g} to {LARGEST:g}, to be normalised: scale the inputs")
    return None
