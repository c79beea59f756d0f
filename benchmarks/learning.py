"""Gradients of 80 workers (fewer of wide models) in acesim, and the same mathematics in PyTorch and JAX where they are
installed.

The share of sgemm counts the products that cannot be left out, forward and (twice as many) backward:
3 x tokens x (2 (12 d^2 L + V d) + 4 T d L) FLOPs a worker-step, against a square product of 1024 in the same turns.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from acesim import scenario
from acesim.learning import tasks
from acesim.learning.transformer import Transformer
from acesim.scenario.tasks import TransformerSpec
from benchmarks.timing import Row, Square, interleaved_s, median_s, one_core, ratio

PEERS = {"torch": "benchmarks.peers.torch_transformer", "jax": "benchmarks.peers.jax_transformer"}
REPEATS, AGREE = 5, 1e-4


class Shape(NamedTuple):
    """What is trained: a Transformer, the sequences of a worker's batch, and by how many workers."""

    name: str
    width: int
    heads: int
    positions: int
    vocabulary: int
    batch: int
    layers: int = 2
    workers: int = 80


SHAPES = (Shape("design page", 64, 4, 32, 256, 4), Shape("wide", 128, 4, 64, 256, 4, workers=16),
          Shape("quickstart", 32, 2, 32, 96, 1), Shape("table1", 48, 3, 32, 96, 1))
LARGE = (Shape("1 M parameters", 192, 6, 32, 256, 4, workers=8), Shape("10 M parameters", 512, 8, 32, 256, 4, 3, 4))


class Problem:
    """Random parameters and batches of all workers at one shape."""

    def __init__(self, shape: Shape) -> None:
        self.spec = TransformerSpec(layers=shape.layers, d_model=shape.width, heads=shape.heads,
                                    context=shape.positions, vocabulary=shape.vocabulary)
        self.workers, self.model = shape.workers, Transformer(self.spec)
        rng = np.random.default_rng(0)
        self.shared = self.model.initial(rng)
        spread = np.float32(0.01) * rng.standard_normal((self.workers, self.model.size), dtype=np.float32)
        self.diverged = self.shared + spread
        size = (self.workers, shape.batch, shape.positions)
        self.tokens, self.targets = rng.integers(shape.vocabulary, size=size), rng.integers(shape.vocabulary, size=size)
        self._out = np.empty_like(self.diverged)
        self.flops = flops(self.spec, shape.batch * shape.positions, shape.vocabulary)

    def views(self, stacked: bool) -> dict[str, Any]:
        """Return the parameters by name, [W, ...] or [1, ...], copied: peers may keep them as they like."""
        rows = self.diverged if stacked else self.shared[None]
        return {name: part.copy() for name, part in self.model.views(rows).items()}

    def gradients(self, stacked: bool) -> np.ndarray:
        """Return acesim's gradients [W, P]."""
        return self.model.gradient(self.diverged if stacked else self.shared, self.tokens, self.targets, self._out)[1]


def flops(spec: Any, tokens: int, vocabulary: int) -> int:
    """Return the FLOPs of the products that one worker's gradient needs (see the top of this file)."""
    weights = 12 * spec.d_model**2 * spec.layers + vocabulary * spec.d_model
    return 3 * tokens * (2 * weights + 4 * spec.context * spec.d_model * spec.layers)


def peers() -> tuple[list[ModuleType], list[Row]]:
    """Return the peers that are installed, and a row for each that is not."""
    missing = [name for name in PEERS if find_spec(name) is None]
    found = [import_module(module) for name, module in PEERS.items() if name not in missing]
    return found, [(f"gradient, {name}", "not installed here: not measured") for name in missing]


def agree(name: str, found: np.ndarray, wanted: np.ndarray) -> None:
    """Raise ValueError unless every worker's gradient is the same, float32 apart."""
    away = np.linalg.norm(found - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    if not away.max() < AGREE:
        raise ValueError(f"{name}: gradients differ by {away.max():.1e} of their length: must be below {AGREE}")


def competitors(problem: Problem, stacked: bool, modules: list[ModuleType]) -> dict[str, Callable[[], object]]:
    """Return every way to take the gradients, acesim's first, after checking that they agree."""
    wanted, order = problem.gradients(stacked).copy(), [tensor.name for tensor in problem.model.tensors]
    ways: dict[str, Callable[[], object]] = {"acesim": partial(problem.gradients, stacked)}
    for module in modules:
        for name, way in module.variants(problem, stacked).items():
            agree(f"{module.VERSION} {name}", module.flat(name, way(), order), wanted)
            ways[f"{module.VERSION} {name}"] = way
    return ways


def gradient_rows(rows: list[Row]) -> None:
    """Per-worker gradients of every shape, shared and diverged parameters, beside the peers."""
    with one_core():
        modules, missing = peers()
        rows += missing
        for shape in SHAPES:
            problem = Problem(shape)
            for stacked in (False, True):
                rows += compared(shape, problem, stacked, modules)


def large_rows(rows: list[Row]) -> None:
    """Larger models, fewer workers, each with its own parameters."""
    with one_core():
        modules, _ = peers()
        for shape in LARGE:
            rows += compared(shape, Problem(shape), True, modules)


def compared(shape: Shape, problem: Problem, stacked: bool, modules: list[ModuleType]) -> list[Row]:
    """Return a row for acesim and one for every peer's way."""
    square = Square()
    ways = competitors(problem, stacked, modules)
    # what the last peer's threads and freed memory leave behind falls to the first square, which does not count
    times = interleaved_s({"rest": square, "sgemm": square, **ways}, REPEATS)
    del times["rest"]
    squares_s = times.pop("sgemm")
    square_s = statistics.median(squares_s)
    ideal_s = [time_s * problem.flops * shape.workers / square.flops for time_s in squares_s]
    size = f"d{shape.width} T{shape.positions} B{shape.batch}, {problem.model.size} parameters"
    label = f"{shape.name} ({size}), {'diverged' if stacked else 'shared'}"
    own = times.pop("acesim")
    each_us = {name: statistics.median(spans) / shape.workers * 1e6 for name, spans in {"": own, **times}.items()}
    rows = [(f"gradient, {label}", f"{each_us['']:.0f} us a worker-step, {ratio(ideal_s, own):.0%} of sgemm's "
             f"{square.flops / square_s / 1e9:.0f} GFLOP/s")]
    rows += [(f"... {name}", f"{each_us[name]:.0f} us, {ratio(spans, own):.2f} x acesim's, "
              f"{ratio(ideal_s, spans):.0%} of sgemm")
             for name, spans in times.items()]
    return rows


def task_rows(rows: list[Row]) -> None:
    """Gradients and evaluation of the shipped scenarios, their batches and 80 workers."""
    workers = 80
    for name in ("quickstart", "table1"):
        world = scenario.load(name)
        tiers = [group.tier for group in world.workers for _ in range(group.count)]
        task = tasks.build(world.task, tiers, 0)
        model = task.initial(0)

        def gradients(task: Any = task, model: Any = model) -> None:
            for start in range(0, workers, 8):
                task.gradient(model, task.batches(range(start, start + 8), [0] * 8))

        rows.append((f"batches and gradients, {name} ({task.size} parameters)",
                     f"{median_s(gradients) / workers * 1e6:.0f} us a worker-step"))
        rows.append((f"evaluation, {name}, {world.task.scored_characters} characters",
                     f"{median_s(partial(task.evaluate, model)) * 1e3:.0f} ms"))
