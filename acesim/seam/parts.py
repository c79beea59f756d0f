"""The protocols of the parts that a policy is made of, and their optional sides; see `planning` for the schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from acesim.seam.values import Chunk, Generator, Guide, Payload, Shapes, Update, Vector, Wire, Work


@runtime_checkable
class Compressor(Protocol):
    """WHAT travels: turns a vector into a payload with an honest byte count, and back."""

    @property
    def linear(self) -> bool:
        """May bodies be added before decoding?"""

    @property
    def lossless(self) -> bool:
        """Does decode(encode(x)) carry x whole?  The engine then hands the receiver the very model."""

    @property
    def incremental(self) -> bool:
        """Does its size depend on what the receiver holds, though nothing is lost?  A server then remembers that."""

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """The parts that its payloads leave in; () is one part, ready at the end of the backward pass."""

    @property
    def contractive(self) -> bool:
        """Does |x - decode(encode(x))|^2 never exceed |x|^2?  ErrorFeedback refuses what is not."""

    def init(self, size: int) -> Any:
        """Return the state for vectors of `size` entries."""

    def encode(self, vector: Vector, level: Any, rng: Generator | None, state: Any) -> tuple[Payload, Any]:
        """Turn a float32 [P] vector into a payload; never changes `vector` or `state` in place."""

    def decode(self, body: Any, size: int) -> Vector:
        """Turn a body back into a float32 [P] vector."""

    def wire(self, shapes: Shapes, measure: Any) -> Wire:
        """Return the exact bytes of a payload of tensors of these shapes, at any scale."""

    def nbytes(self, shapes: Shapes, measure: Any) -> int:
        """`wire(...).total`."""

    def serialise(self, body: Any) -> bytes:
        """Spell a body as the bytes that would travel."""

    def work(self, direction: str) -> Work:
        """Return the declared work of "encode" or "decode"."""

    def memory_bytes(self, size: int) -> int:
        """Return the memory its state takes for `size` entries."""


@runtime_checkable
class Remembering(Protocol):
    """A compressor whose receiver remembers what each sender sent: beside what a `Compressor` has."""

    def receive(self, body: Any, size: int, memory: Any) -> tuple[Vector, Any]:
        """Return (what the receiver uses [P], its memory of this sender); memory is None before the first."""

    def receiver_bytes(self, size: int) -> int:
        """Return the memory that a receiver needs for each sender."""


@runtime_checkable
class Predicting(Protocol):
    """A downlink that sends how far the model is from where it was expected: beside what a `Compressor` has."""

    def predict(self, held: Vector, before: Vector | None, level: Any) -> Vector:
        """Return what a receiver of `held`, which held `before` until then, expects next [P]; None: nothing before.

        level   of the message to come
        """


GradientFunction = Callable[[Vector], tuple[Vector, NDArray[np.float64]]]
"""parameters [P] or [C, P] -> (gradients [C, P], losses [C]) of the next batch of every worker in the chunk."""


@runtime_checkable
class LocalTraining(Protocol):
    """WHAT a worker does alone.  All arrays are stacked, a row a worker; elementwise rules need not care."""

    def init(self, size: int) -> Any:
        """Return the state of one worker: a (possibly empty) tuple of float32 [P] arrays and numbers."""

    def run(self, anchor: Vector, steps: int, gradient: GradientFunction, state: Any) -> tuple[Vector, Any]:
        """Return (anchor - result [C, P], state).  anchor is [P] (shared) or [C, P]; state is stacked likewise."""

    def memory_bytes(self, size: int) -> int:
        """Return the memory of weights, gradient and optimizer for `size` parameters."""


@runtime_checkable
class Foreseeing(Protocol):
    """A local training that walks where the server will: beside what a `LocalTraining` has."""

    def along(self, guide: Guide) -> LocalTraining:
        """Return the training of workers that know what the server's optimizer holds."""


@runtime_checkable
class Walking(Protocol):
    """A local training whose update is no displacement: beside what a `LocalTraining` has."""

    def walked(self, state: Any) -> NDArray[np.float64]:
        """Return |theta_k - anchor|_2 at the end of the last run [C]."""


@runtime_checkable
class Aggregator(Protocol):
    """WHAT a server does with its inbox.

    One whose optimizer may be seen has `guide(state) -> Guide` as well (`Guided`).
    """

    def init(self, model: Vector) -> Any:
        """Return the state that goes with an initial model."""

    def step(self, model: Vector, inbox: Sequence[Update], compressor: Compressor, state: Any) -> tuple[Vector, Any]:
        """Return (the next model, state); inbox is sorted by sender and never empty."""

    def update(self, state: Any) -> Vector | None:
        """Return the last aggregated update [P], where there is one: schedules may learn from it."""

    def work(self) -> Work:
        """Return the declared work of one step, apart from decoding the inbox."""

    def memory_bytes(self, size: int) -> int:
        """Return the memory its state takes."""


@runtime_checkable
class Guided(Protocol):
    """An aggregator that tells what its optimizer holds."""

    def guide(self, state: Any) -> Guide:
        """Return it."""


@runtime_checkable
class Varying(Protocol):
    """An aggregator that keeps variants of the model, which differ in some entries: beside what an `Aggregator` has."""

    @property
    def entries(self) -> NDArray[np.int64]:
        """Which entries of the proxy differ [p], ascending."""

    @property
    def most(self) -> int:
        """How many variants there can be; their numbers begin at 0."""

    def apart(self, size: int) -> int:
        """Return how many of `size` parameters differ."""

    def models(self, state: Any) -> Mapping[int, Vector]:
        """Return the variants there are [P], by number; who follows another is given the model itself."""
