"""Tasks: what is trained, on which data, and how it is scored.  A task knows workers by row number, no time.

Everything a task gives is a pure function of the scenario, the seed, the worker and the step: no policy, no
order of calls and no neighbour in a chunk can change a batch or a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from acesim.learning import corpus, ngrams
from acesim.learning.transformer import Transformer
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.streams import stream
from acesim.seam import Generator, Group, Shapes, Vector

if TYPE_CHECKING:
    from acesim.scenario.schema import LanguageModelTask, QuadraticTask, Scenario

Array = NDArray[Any]
Ids = NDArray[np.int64]

STEPS_PER_BLOCK = 256
"""Steps of one worker that are drawn from one random stream."""


class Scores(NamedTuple):
    """How good a model is on held-out data; figures of a tier without held-out data are NaN.

    perplexity   exp(loss_nats)
    scored       predictions that were scored
    """

    loss_nats: float
    top1_percent: float
    perplexity: float
    cloud_loss_nats: float
    edge_loss_nats: float
    cloud_top1_percent: float
    edge_top1_percent: float
    scored: int


class Task(Protocol):
    """What the engine asks of a task; C rows are the workers of one call, in the order they were named."""

    size: int
    shapes: Shapes
    groups: tuple[Group, ...]
    examples: Ids
    fingerprint: str

    def initial(self, seed: int) -> Vector:
        """Return the initial parameters, float32 [P]."""

    def batches(self, workers: Sequence[int], step: Sequence[int]) -> Any:
        """Return the stacked batches of some workers, each at its own step."""

    def gradient(self, parameters: Array, batch: Any, out: Array | None = None) -> tuple[Array, Array]:
        """Return (gradients [C, P], losses float64 [C]); parameters are [P] or [C, P]."""

    def evaluate(self, parameters: Array) -> Scores:
        """Score one model."""

    def evaluate_each(self, parameters: Sequence[Array]) -> Scores:
        """Score W models, each on an equal part of what `evaluate` scores."""

    def yardsticks(self) -> dict[str, float]:
        """Return what simple models reach on what `evaluate` scores."""

    def reference(self) -> Task:
        """Return the same task in float64."""


def build(spec: LanguageModelTask | QuadraticTask, tiers: Sequence[str], seed: int) -> Task:
    """Return the task of a scenario.

    tiers   "cloud" or "edge" for each worker, by row number
    raises  ScenarioError when the corpus is missing or too small; ValueError when there is no such kind
    """
    if spec.kind == "language-model":
        return LanguageModel(spec, tiers, seed)
    if spec.kind == "quadratic":
        return Quadratic(spec, tiers, seed)
    raise ValueError(f"task.kind = {spec.kind}: must be language-model or quadratic")


def check(scenario: Scenario) -> Iterator[Problem]:
    """Read the data of a scenario, and name what is wrong with it."""
    try:
        build(scenario.task, [group.tier for group in scenario.workers for _ in range(group.count)], 0)
    except ScenarioError as error:
        yield from error.problems


def reference_gradient(task: Task, parameters: Array, workers: Sequence[int],
                       step: Sequence[int]) -> tuple[Array, Array]:
    """Do in float64, one worker at a time, what `task.gradient` does for all: what it is held against."""
    exact = task.reference()
    rows = np.broadcast_to(np.asarray(parameters, np.float64), (len(workers), task.size))
    pairs = [exact.gradient(row, exact.batches([worker], [at]))
             for row, worker, at in zip(rows, workers, step, strict=True)]
    return np.concatenate([pair[0] for pair in pairs]), np.concatenate([pair[1] for pair in pairs])


class Draws:
    """Random numbers of each worker and step, drawn in blocks of steps; each worker's last block is kept."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._blocks: dict[int, tuple[int, Array]] = {}

    def __call__(self, worker: int, step: int, draw: Any) -> Array:
        """Return row `step` of the blocks that `draw(generator)` makes: [STEPS_PER_BLOCK, ...]."""
        block, row = divmod(step, STEPS_PER_BLOCK)
        kept = self._blocks.get(worker)
        if kept is None or kept[0] != block:
            kept = self._blocks[worker] = (block, draw(stream(self.seed, "data", worker, block)))
        return np.asarray(kept[1][row])


class Batch(NamedTuple):
    """Sequences of symbols [C, B, T], and the symbol that follows each."""

    tokens: Ids
    targets: Ids


class LanguageModel:
    """Predict the next character of a text with a small Transformer.

    spec     corpus, model, batch_size, scored_characters
    tiers    of the workers; worker k trains on the k-th shard
    dtype    of the arithmetic
    raises   ScenarioError when the corpus is missing, or too small for the workers or for what is scored
    """

    def __init__(self, spec: LanguageModelTask, tiers: Sequence[str], seed: int,
                 dtype: Any = np.float32) -> None:
        self._arguments = (spec, tuple(tiers), seed)
        self.spec, self.workers = spec, len(tiers)
        documents = corpus.read(spec.corpus)
        parts = corpus.split(documents, spec.corpus.held_out)
        self.fingerprint = corpus.fingerprint(documents)
        self.alphabet = corpus.alphabet((text for _, text in parts.training), spec.model.vocabulary)
        self.model = Transformer(spec.model, dtype, self.alphabet.size)
        self.size, self.shapes, self.groups = self.model.size, self.model.shapes, self.model.groups()
        context = spec.model.context
        self.text = self.alphabet.encode("".join(text for _, text in parts.training))
        lengths = [len(text) for _, text in parts.training]
        self.borders = corpus.pack(lengths, self.workers, 4 * (context + 1))
        self.examples = (np.diff(self.borders) - 1) // context
        self._held_out(parts, np.cumsum([0, *lengths]), tiers)
        self._draws = Draws(seed)

    def _held_out(self, parts: corpus.Split, ends: Ids, tiers: Sequence[str]) -> None:
        """Lay the scored windows evenly over the held-out text, and mark each character with its tier."""
        context = self.spec.model.context
        self.held_out = self.alphabet.encode("".join(text for _, text in parts.held_out))
        windows = -(-self.spec.scored_characters // context)
        room = len(self.held_out) - 1 - context * windows
        if room < 0:
            most = max(0, len(self.held_out) - 1) // context * context
            raise ScenarioError([Problem(
                ("task", "scored_characters"), self.spec.scored_characters,
                f"must be at most {most}: the held-out text has no more; score fewer, hold out more, "
                "or give more text")])
        starts = np.arange(windows) * context + np.arange(windows) * room // max(1, windows - 1)
        places = starts[:, None] + np.arange(context)
        self.windows = Batch(self.held_out[places], self.held_out[places + 1])
        shards = np.searchsorted(self.borders[1:-1], ends[parts.after], side="right")  # around each document
        in_cloud = np.array([tiers[worker] == "cloud" for worker in shards])
        lengths = [len(text) for _, text in parts.held_out]
        self._scored_places = places + 1
        self._cloud = np.repeat(in_cloud, lengths)[self._scored_places]

    def reference(self) -> LanguageModel:
        """Return the same task in float64."""
        return LanguageModel(*self._arguments, dtype=np.float64)

    def initial(self, seed: int) -> Vector:
        """Return the initial parameters, float32 [P]."""
        return self.model.initial(stream(seed, "init"))

    def batches(self, workers: Sequence[int], step: Sequence[int]) -> Batch:
        """Return random sequences of each worker's own shard, [C, B, T]."""
        starts = np.stack([self._draws(worker, at, lambda rng, worker=worker: self._starts(worker, rng))
                           for worker, at in zip(workers, step, strict=True)])
        places = starts[..., None] + np.arange(self.spec.model.context + 1)
        symbols = self.text[places]
        return Batch(symbols[..., :-1], symbols[..., 1:])

    def _starts(self, worker: int, rng: Generator) -> Ids:
        first, last = self.borders[worker], self.borders[worker + 1] - self.spec.model.context
        return rng.integers(first, last, (STEPS_PER_BLOCK, self.spec.batch_size))

    def gradient(self, parameters: Array, batch: Batch, out: Array | None = None) -> tuple[Array, Array]:
        """Return (gradients [C, P], losses float64 [C]) of the mean cross-entropy in nats."""
        losses, gradients = self.model.gradient(parameters, batch.tokens, batch.targets, out)
        return gradients, losses

    def evaluate(self, parameters: Array) -> Scores:
        """Score one model on all windows."""
        return self._scores(*self.model.loss(parameters, *self.windows))

    def evaluate_each(self, parameters: Sequence[Array], turn: int = 0) -> Scores:
        """Score W models: worker k scores windows k + turn, k + turn + W, ...: each window once."""
        count = len(parameters)
        parts = [slice((worker + turn) % count, None, count) for worker in range(count)]
        nats, right = np.empty(self._cloud.shape), np.empty(self._cloud.shape, bool)
        for model, part in zip(parameters, parts, strict=True):
            tokens, targets = self.windows.tokens[part], self.windows.targets[part]
            nats[part], right[part] = self.model.loss(model, tokens, targets)
        return self._scores(nats, right)

    def _scores(self, nats: Array, right: Array) -> Scores:
        loss, cloud = float(nats.mean()), self._cloud
        return Scores(loss, 100 * float(right.mean()), bounded_exp(loss),
                      mean_of(nats[cloud]), mean_of(nats[~cloud]),
                      100 * mean_of(right[cloud]), 100 * mean_of(right[~cloud]), nats.size)

    def yardsticks(self) -> dict[str, float]:
        """Return nats per character and top-1 of n-gram models; they see all the text before."""
        places = self._scored_places[self._scored_places >= 2]
        result: dict[str, float] = {}
        for order, name in enumerate(("unigram", "bigram", "trigram"), 1):
            nats, percent = ngrams.score(self.text, self.held_out, places, order, self.alphabet.size)
            result |= {f"{name}_nats": nats, f"{name}_top1_percent": percent}
        return result


class Noise(NamedTuple):
    """Which worker each row is, and the noise of its gradient [C, P]."""

    workers: Ids
    noise: Array


class Quadratic:
    """Worker k minimises f_k(x) = 1/2 (x - x_k)^T A (x - x_k), A diagonal, log-spaced from 1 to `condition`.

    A stochastic gradient is A (x - x_k) + z, z ~ N(0, noise^2 / batch_size); the loss that goes with it is
    f_k(x) + z^T (x - x_k).  The optima differ: x_k ~ N(0, heterogeneity^2 / P), so that |x_k| is about
    `heterogeneity`.  The sum over workers has its optimum at their mean.  The exact answer is known, which is
    what this task is for.

    Scores: loss_nats is f(x) - f(optimum), of all workers and of each tier's own sum; top-1 is 0.
    """

    def __init__(self, spec: QuadraticTask, tiers: Sequence[str], seed: int, dtype: Any = np.float32) -> None:
        self._arguments = (spec, tuple(tiers), seed)
        self.spec, self.dtype, self.size = spec, np.dtype(dtype), spec.dimension
        self.shapes: Shapes = ((self.size,),)
        edges = [self.size * i // min(8, self.size) for i in range(min(8, self.size) + 1)]
        self.groups = tuple(Group(f"x.{i}", edges[i], edges[i + 1]) for i in range(len(edges) - 1))
        self.examples = np.full(len(tiers), spec.batch_size * spec.steps_per_epoch, np.int64)
        self.fingerprint = "quadratic"
        self.curvature = np.geomspace(1, spec.condition, self.size)
        spread = spec.heterogeneity / math.sqrt(self.size)
        self.centres: Array = spread * stream(seed, "init", 1).standard_normal((len(tiers), self.size))
        self._cloud = np.array([tier == "cloud" for tier in tiers])
        self._draws = Draws(seed)

    def reference(self) -> Quadratic:
        """Return the same task in float64."""
        return Quadratic(*self._arguments, dtype=np.float64)

    def initial(self, seed: int) -> Vector:
        """Return the initial parameters, float32 [P], ~ N(0, 1)."""
        return stream(seed, "init").standard_normal(self.size, dtype=np.float32)

    def optimum(self) -> Array:
        """Return the minimiser of the sum over workers, float64 [P]."""
        return np.asarray(self.centres.mean(axis=0))

    def batches(self, workers: Sequence[int], step: Sequence[int]) -> Noise:
        """Return the noise of each worker's gradient at its step."""
        noise = [self._draws(worker, at, self._noise) for worker, at in zip(workers, step, strict=True)]
        return Noise(np.array(workers, np.int64), np.stack(noise))

    def _noise(self, rng: Generator) -> Array:
        spread = self.spec.noise / math.sqrt(self.spec.batch_size)
        return spread * rng.standard_normal((STEPS_PER_BLOCK, self.size))

    def gradient(self, parameters: Array, batch: Noise, out: Array | None = None) -> tuple[Array, Array]:
        """Return (gradients [C, P], losses float64 [C])."""
        out = np.empty(batch.noise.shape, self.dtype) if out is None else out
        away = np.asarray(parameters, np.float64) - self.centres[batch.workers]
        out[...] = self.curvature * away + batch.noise
        return out, np.sum(away * (0.5 * self.curvature * away + batch.noise), axis=1)

    def _excess(self, parameters: Array, centres: Array) -> float:
        away = np.asarray(parameters, np.float64) - centres.mean(axis=0)
        return 0.5 * float(np.sum(self.curvature * away * away))

    def evaluate(self, parameters: Array) -> Scores:
        """Score one model."""
        return self.evaluate_each([parameters])

    def evaluate_each(self, parameters: Sequence[Array]) -> Scores:
        """Return the mean scores of W models."""
        parts = [self.centres, self.centres[self._cloud], self.centres[~self._cloud]]
        excess = [[self._excess(model, part) for model in parameters if len(part)] for part in parts]
        loss, cloud, edge = (mean_of(np.array(values)) for values in excess)
        return Scores(loss, 0.0, bounded_exp(loss), cloud, edge, 0.0, 0.0, len(self.centres))

    def yardsticks(self) -> dict[str, float]:
        """Return {}: the exact optimum is known."""
        return {}


def mean_of(values: Array) -> float:
    """Return the mean, or NaN where there is nothing to average."""
    return float(values.mean()) if values.size else math.nan


def bounded_exp(loss: float) -> float:
    """Return exp(loss), at most the largest float."""
    return math.exp(min(loss, 709.0))
