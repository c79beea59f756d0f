"""Tasks: what is trained, on which data, and how it is scored.  A task knows workers by row number, no time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from acesim.learning import corpus, ngrams, plugins
from acesim.learning.classification import ImageClassification
from acesim.learning.contract import STEPS_PER_BLOCK, Array, Draws, Ids, Scores, Task, bounded_exp, mean_of
from acesim.learning.idle import NetworkOnly
from acesim.learning.transformer import Transformer
from acesim.scenario.errors import Problem, ScenarioError
from acesim.scenario.streams import stream
from acesim.seam import Generator, Group, Shapes, Vector

if TYPE_CHECKING:
    from acesim.scenario.schema import LanguageModelTask, QuadraticTask, Scenario
    from acesim.scenario.schema import Task as TaskSpec


def build(spec: TaskSpec, tiers: Sequence[str], seed: int, plugin_files: Sequence[str | Path] = ()) -> Task:
    """Return the task of a scenario.

    tiers          "cloud" or "edge" for each worker, by row number
    plugin_files   Python files with TASKS = {"name": builder}, for tasks of kind plugin
    raises         ScenarioError when the data is missing, too small or not as it should be, or when there is no such
                   plug-in; ValueError when there is no such kind
    """
    if spec.kind == "plugin":
        return plugins.build(spec, tiers, seed, plugin_files)
    if spec.kind not in KINDS:
        raise ValueError(f"task.kind = {spec.kind}: must be {', '.join(KINDS)} or plugin")
    return KINDS[spec.kind](spec, tiers, seed)


def check(scenario: Scenario, plugin_files: Sequence[str | Path] = ()) -> Iterator[Problem]:
    """Read the data of a scenario, and name what is wrong with it."""
    tiers = [group.tier for group in scenario.workers for _ in range(group.count)]
    try:
        build(scenario.task, tiers, 0, plugin_files)
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


class Batch(NamedTuple):
    """Sequences of symbols [C, B, T], and the symbol that follows each."""

    tokens: Ids
    targets: Ids


AT_ONCE = 8192
"""Starts of sequences that are drawn in one call, unless a batch is more."""


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
        context = spec.model.context
        self.text = self.alphabet.encode("".join(text for _, text in parts.training))
        lengths = [len(text) for _, text in parts.training]
        self.borders = corpus.pack(lengths, self.workers, 4 * (context + 1))
        self.examples = (np.diff(self.borders) - 1) // context
        self._held_out(parts, np.cumsum([0, *lengths]), tiers)
        self.model = Transformer(spec.model, dtype, self.alphabet.size)  # last: its mask is context x context
        self.size, self.shapes, self.groups = self.model.size, self.model.shapes, self.model.groups()
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
        self.windows = Batch(*(self.held_out[chosen].astype(np.int64) for chosen in (places, places + 1)))
        shards = np.searchsorted(self.borders[1:-1], ends[parts.after], side="right")  # around each document
        in_cloud = np.array([tiers[worker] == "cloud" for worker in shards])
        lengths = [len(text) for _, text in parts.held_out]
        self._scored_places = places + 1
        self._cloud = np.repeat(in_cloud, lengths)[self._scored_places]
        documents = np.repeat(np.arange(len(lengths)), lengths)[self._scored_places[:, 0]]
        self.owners = corpus.owners(documents, shards, ends[parts.after], self.borders)

    def reference(self) -> LanguageModel:
        """Return the same task in float64."""
        return LanguageModel(*self._arguments, dtype=np.float64)

    def initial(self, seed: int) -> Vector:
        """Return the initial parameters, float32 [P]."""
        return self.model.initial(stream(seed, "init"))

    def batches(self, workers: Sequence[int], step: Sequence[int]) -> Batch:
        """Return random sequences of each worker's own shard, [C, B, T]."""
        starts = np.stack([self._draws(worker, at, partial(self._starts, worker))
                           for worker, at in zip(workers, step, strict=True)])
        places = starts[..., None] + np.arange(self.spec.model.context + 1)
        symbols = self.text[places].astype(np.int64)
        return Batch(symbols[..., :-1], symbols[..., 1:])

    def _starts(self, worker: int, rng: Generator) -> Iterator[Ids]:
        first, last = self.borders[worker], self.borders[worker + 1] - self.spec.model.context
        batch = self.spec.batch_size
        while True:
            yield from rng.integers(first, last, (max(1, min(STEPS_PER_BLOCK, AT_ONCE // batch)), batch))

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

    def evaluate_own(self, parameters: Sequence[Array]) -> Scores:
        """Score W models, each on the windows of its worker's own held-out documents: each window once."""
        nats, right = np.empty(self._cloud.shape), np.empty(self._cloud.shape, bool)
        followers: dict[int, list[int]] = {}
        for worker, model in enumerate(parameters):
            followers.setdefault(id(model), []).append(worker)
        for workers in followers.values():  # who has the same model is scored in one go
            own = np.isin(self.owners, workers)
            nats[own], right[own] = self.model.loss(parameters[workers[0]], *(part[own] for part in self.windows))
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

    def _noise(self, rng: Generator) -> Iterator[Array]:
        spread = self.spec.noise / math.sqrt(self.spec.batch_size)
        while True:
            yield spread * rng.standard_normal(self.size)

    def gradient(self, parameters: Array, batch: Noise, out: Array | None = None) -> tuple[Array, Array]:
        """Return (gradients [C, P], losses float64 [C])."""
        out = np.empty(batch.noise.shape, self.dtype) if out is None else out
        away = np.asarray(parameters, np.float64) - self.centres[batch.workers]
        out[...] = self.curvature * away + batch.noise
        return out, np.sum(away * (0.5 * self.curvature * away + batch.noise), axis=1)

    def evaluate_own(self, parameters: Sequence[Array]) -> Scores:
        """Return the scores of W models, each on its own f_k: the mean of f_k(x_k) - f_k(optimum), maybe negative."""
        models = np.stack(parameters).astype(np.float64)
        loss, cloud, edge = (self._own(models[part], self.centres[part])
                             for part in (slice(None), self._cloud, ~self._cloud))
        return Scores(loss, 0.0, bounded_exp(loss), cloud, edge, 0.0, 0.0, len(self.centres))

    def _own(self, models: Array, centres: Array) -> float:
        if not len(centres):
            return math.nan
        away, least = models - centres, centres.mean(axis=0) - centres
        return 0.5 * float(np.mean(np.sum(self.curvature * (away * away - least * least), axis=1)))

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


KINDS: Mapping[str, Callable[[Any, Sequence[str], int], Task]] = MappingProxyType({
    "language-model": LanguageModel, "image-classification": ImageClassification, "quadratic": Quadratic,
    "network-only": NetworkOnly})
"""The tasks that come with acesim."""
