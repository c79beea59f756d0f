"""The fingerprint of a training: which batches, which payloads, which weights; no times.

Two runs with the same fingerprint learned the same, whatever their network made of it.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from acesim.seam import Update, Vector

if TYPE_CHECKING:
    from acesim.engine.cohort import Result
    from acesim.engine.messages import Message


class TrainingPrint:
    """Grows by what each aggregation of the cloud took in, in order of sender."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add_round(self, inbox: Sequence[Message | Update], model: Vector) -> None:
        """Add the messages of one aggregation, sorted by sender, and the model they made: it tells their contents."""
        lines = [f"{each.sender},{each.version},{each.payload.nbytes},{each.batches};" for each in inbox]
        self._hash.update(f"{''.join(lines)}{content(model)};".encode())

    def add_alone(self, row: int, result: Result) -> None:
        """Add a worker's local training that was sent to nobody."""
        self._hash.update(f"{row},{result.batches},{content(result.update)};".encode())

    @staticmethod
    def of_region(inbox: Sequence[Message]) -> int:
        """Fold what a region took in into one number, which its own message then carries."""
        print_ = 0
        for message in inbox:
            line = f"{message.sender},{message.version},{message.batches},{content(message.payload.body)};"
            print_ = zlib.crc32(line.encode(), print_)
        return print_

    def hexdigest(self, model: Vector) -> str:
        """Return the fingerprint with the final weights."""
        final = self._hash.copy()
        final.update(np.ascontiguousarray(model).tobytes())
        return final.hexdigest()


def content(body: Any) -> int:
    """Return the sum of a body's bytes, taken as integers: quick, and enough beside the final weights' sha256."""
    return sum(int(np.add.reduce(_integers(array))) for array in _arrays(body)) % 2**64


def _arrays(body: Any) -> Iterator[np.ndarray]:
    if isinstance(body, np.ndarray):
        yield body
    elif isinstance(body, (tuple, list)):
        for part in body:
            yield from _arrays(part)
    elif isinstance(body, (int, float)):
        yield np.array([body], dtype=np.float64)


def _integers(array: np.ndarray) -> np.ndarray:
    """Return an array's bytes as the widest integers they fill; sums of uint64 wrap, and are quick for that."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return flat.view(np.uint64) if flat.size % 8 == 0 else flat
