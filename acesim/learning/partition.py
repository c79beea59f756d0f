"""Who holds which examples: label skew and quantity skew, alone or together.

Names are those of flwr-datasets where it has them.  Every example is dealt exactly once, and every worker
gets at least `min_partition_size`.  Nothing is drawn again until it fits: all rules end for every alpha > 0, in
a number of steps that is known beforehand.

    iid         examples in random order, cut at the sizes
    dirichlet   without a quantity: class k falls to workers as q_k ~ Dirichlet(alpha) over W workers (Yurochkin et
                al. 2019, arXiv:1905.12022; DirichletPartitioner of flwr-datasets).  With a quantity: worker w
                has a fixed size and fills it by q_w ~ Dirichlet(alpha K p), p the shares of the K classes; where
                they are equal, that is Dirichlet(alpha, ..., alpha) (InnerDirichletPartitioner; Hsu et al. 2019,
                arXiv:1909.06335, call alpha K the concentration)
    classes     every worker owns exactly so many classes, every class about as many workers; the owners of
                a class share it in proportion to their quantities

Where others reject or fail, this repairs.  A class that has run out leaves the draw, and the others keep their
proportions, reckoned in logarithms, so that they exist however small.  A worker below the minimum gets
examples one by one, from a class that it holds already where there is one, and from the largest worker; under
`classes` from its own classes alone, and what these cannot give is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.scenario.errors import Problem, ScenarioError
from acesim.seam import Generator

if TYPE_CHECKING:
    from acesim.scenario.tasks import Partition as PartitionSpec
    from acesim.scenario.tasks import Quantity

Array = NDArray[Any]
Counts = NDArray[np.int64]

TINY, HUGE = 1e-300, 1e300
"""Beyond these floats end: one class (or worker) has everything there, or all have their exact share."""

FAINTEST = -600.0
"""Logarithm of the smallest share of a worker over the largest: further down floats would be 0."""


class Partition(NamedTuple):
    """counts [K, W]: examples of each class with each worker; shards: which ones, by worker."""

    counts: Counts
    shards: list[Counts]


def partition(spec: PartitionSpec, labels: Counts, workers: int, rng: Generator) -> Partition:
    """Deal examples to workers.

    labels    int [N], classes 0 .. K - 1, each at least once
    workers   W
    raises    ScenarioError when there are too few examples or classes for what is asked
    """
    totals = np.bincount(labels)
    _check(spec, totals, workers)
    if spec.kind == "iid":
        shares = quantities(spec.quantity, workers, rng)
        edges = np.cumsum(sizes(shares, len(labels), spec.min_partition_size))[:-1]
        shards: list[Counts] = np.split(rng.permutation(len(labels)), edges)
        mixtures = [np.bincount(labels[shard], minlength=len(totals)) for shard in shards]
        return Partition(np.stack(mixtures, axis=1), shards)
    counts = _by_class(spec, totals, workers, rng) if spec.kind == "classes" \
        else _dirichlet(spec, totals, workers, rng)
    return Partition(counts, deal(labels, counts, rng))


def _check(spec: PartitionSpec, totals: Counts, workers: int) -> None:
    """Raise ScenarioError where no partition can be what is asked for."""
    examples, classes, least = int(totals.sum()), len(totals), spec.min_partition_size
    if examples < workers * least:
        raise _impossible("min_partition_size", least, f"{examples} training examples are only {examples // workers} "
                          f"for each of {workers} workers; lower it, give more data or fewer workers")
    if spec.kind == "classes" and not classes / workers <= spec.classes_per_worker <= classes:
        raise _impossible("classes_per_worker", spec.classes_per_worker,
                          f"must be {-(-classes // workers)} to {classes}: there are {classes} classes, and {workers} "
                          "workers must hold all of them")


def _impossible(key: str, value: object, rule: str) -> ScenarioError:
    return ScenarioError([Problem(("task", "partition", key), value, rule)])


# ---- quantity skew

def quantities(spec: Quantity, workers: int, rng: Generator) -> Array:
    """Return each worker's share of all examples, float64 [W], summing to 1.

    arithmetic   p_1, ..., p_W fall by equal steps, p_1 / p_W = ratio: the first worker (row 0) holds the most.
                 DAGC (Lu et al. 2024) draws the inner ones at random and sorts them; here they are the series.
    log-normal   p_w proportional to exp(sigma z_w)

    >>> from types import SimpleNamespace as Spec
    >>> quantities(Spec(kind="arithmetic", ratio=3.0), 3, None).round(3).tolist()
    [0.5, 0.333, 0.167]
    """
    shares = np.ones(workers)
    if spec.kind == "arithmetic":
        shares = np.linspace(1, 1 / spec.ratio, workers)
    if spec.kind == "log-normal":
        exponents = min(spec.sigma, HUGE) * rng.standard_normal(workers)
        shares = np.exp(np.maximum(exponents - exponents.max(), FAINTEST))
    return np.asarray(shares / shares.sum())


def sizes(shares: Array, total: int, least: int) -> Counts:
    """Return whole numbers [W] in these proportions, none below `least`; what descends stays descending.

    What the smallest lack is taken from the largest, one by one.

    >>> sizes(np.array([0.7, 0.2, 0.1]), 10, 2).tolist()
    [6, 2, 2]
    """
    found = apportion(total, shares)
    for worker in range(len(found)):
        while found[worker] < least:
            largest = len(found) - 1 - int(np.argmax(found[::-1]))  # the last among equals
            found[largest] -= 1
            found[worker] += 1
    return found


def apportion(total: int, shares: Array, owed: Array | float = 0.0) -> Counts:
    """Share `total` in whole numbers: the whole parts, then one each to the largest remainders.

    shares   float64, summing to 1; where a share is 0 nothing is given
    owed     is added to the remainders; ties go to the lower index

    >>> apportion(7, np.array([0.5, 0.25, 0.25])).tolist()
    [3, 2, 2]
    """
    quotas = total * shares
    found: Counts = np.floor(quotas).astype(np.int64)
    claims = np.where(shares > 0, quotas - found + owed, -np.inf)
    found[np.argsort(-claims, kind="stable")[:total - int(found.sum())]] += 1
    return found


def split(totals: Counts, shares: Array) -> Counts:
    """Share every class among workers in whole numbers [K, W]: classes exactly, workers' sums as nearly as can be.

    What rounding takes from a worker in one class it is owed in the next: so no worker goes without because it is
    the last in every class.

    totals   [K]
    shares   [K, W], each row summing to 1

    >>> split(np.array([1, 1, 1]), np.full((3, 3), 1 / 3)).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    found, owed = np.empty(shares.shape, np.int64), np.zeros(shares.shape[1])
    for row, (total, share) in enumerate(zip(totals, shares, strict=True)):
        found[row] = apportion(int(total), share, owed)
        owed += total * share - found[row]
    return found


# ---- label skew

def log_gammas(rng: Generator, alpha: float | Array, shape: tuple[int, ...]) -> Array:
    """Return logarithms of gamma variates; a softmax of them is a Dirichlet variate.

    log G(a) = log G(a + 1) + log(U) / a, which is exact, and finite where G(a) itself is 0.
    """
    alpha = np.clip(alpha, TINY, HUGE)
    return np.asarray(np.log(rng.gamma(alpha + 1, size=shape)) + np.log1p(-rng.random(shape)) / alpha)


def shares_among(logs: Array, open_: Array) -> Array:
    """Return exp(logs) over those that are open, summing to 1: a Dirichlet variate given that all others are 0."""
    away = np.where(open_, logs, -np.inf)
    found = np.exp(away - away.max())
    return np.asarray(found / found.sum())


def _dirichlet(spec: Any, totals: Counts, workers: int, rng: Generator) -> Counts:
    if spec.quantity is None:
        logs = log_gammas(rng, spec.alpha, (len(totals), workers))
        counts = _balanced(totals, logs) if spec.self_balancing \
            else split(totals, np.stack([shares_among(row, np.isfinite(row)) for row in logs]))
        return topped_up(counts, spec.min_partition_size)
    shares = quantities(spec.quantity, workers, rng)
    wanted = sizes(shares, int(totals.sum()), spec.min_partition_size)
    alphas = min(spec.alpha, HUGE) * (len(totals) * totals / totals.sum())
    logs = log_gammas(rng, alphas, (workers, len(totals)))
    return filled(totals, wanted, logs, rng.permutation(workers))


def _balanced(totals: Counts, logs: Array) -> Counts:
    """Deal class after class, each among the workers that do not hold an equal share of all examples yet."""
    counts = np.zeros(logs.shape, np.int64)
    for row, total in enumerate(totals):
        hungry = counts.sum(axis=0) < totals.sum() / logs.shape[1]
        counts[row] = apportion(int(total), shares_among(logs[row], hungry))
    return counts


def filled(totals: Counts, wanted: Counts, logs: Array, order: Sequence[int] | Counts) -> Counts:
    """Give every worker exactly what it wants in size, and its own mixture as long as classes last.

    wanted   [W], summing to the sum of totals [K]
    logs     [W, K] logarithms of the workers' mixtures
    order    in which they are served: late ones find classes gone
    """
    counts, left = np.zeros((len(totals), len(wanted)), np.int64), totals.copy()
    for worker in order:
        while need := int(wanted[worker] - counts[:, worker].sum()):  # each turn ends the need, or a class
            given = np.minimum(apportion(need, shares_among(logs[worker], left > 0)), left)
            counts[:, worker] += given
            left = left - given
    return counts


def _by_class(spec: Any, totals: Counts, workers: int, rng: Generator) -> Counts:
    owned = owners(len(totals), workers, spec.classes_per_worker, rng)
    lacking = np.flatnonzero(totals < owned.sum(axis=1))
    if lacking.size:
        raise _impossible("classes_per_worker", spec.classes_per_worker,
                          f"class number {lacking[0]} has {totals[lacking[0]]} training examples for "
                          f"{owned[lacking[0]].sum()} workers that own it; lower it, give more data or fewer workers")
    shares = owned * quantities(spec.quantity, workers, rng)
    counts = split(totals, shares / shares.sum(axis=1, keepdims=True))
    found = topped_up(counts, spec.min_partition_size)
    if np.array_equal(found > 0, owned):
        return found
    return raised_within(represented(counts, owned), owned, spec.min_partition_size)  # which keep to the owners


def owners(classes: int, workers: int, each: int, rng: Generator) -> NDArray[np.bool_]:
    """Return who owns which class [K, W]: each worker the least owned so far, at random among equals.

    The number of owners thus differs by at most one between classes.
    """
    owned = np.zeros((classes, workers), bool)
    for worker in range(workers):
        owned[np.argsort(owned.sum(axis=1) + rng.random(classes))[:each], worker] = True
    return owned


def represented(counts: Counts, owned: NDArray[np.bool_]) -> Counts:
    """Give each owner that rounding left without one example of its class one of the largest co-owner that has two.

    counts, owned   [K, W]; no class has fewer examples than owners
    """
    counts = counts.copy()
    for worker, row in np.argwhere((owned & (counts == 0)).T):
        giver = np.argmax(np.where(counts[row] > 1, counts.sum(axis=0), 0))
        counts[row, [giver, worker]] += (-1, 1)
    return counts


def raised_within(counts: Counts, owned: NDArray[np.bool_], least: int) -> Counts:
    """Raise workers to `least` examples, one example at a time, of the classes they own; no owner loses its last one.

    The example comes from the largest co-owner that has one to spare.  Where none has, a co-owner hands one on and gets
    another in its place, and so forth along the shortest chain to somebody with one to spare.  Where no chain leads to
    any, no partition among these owners is large enough.

    counts, owned   [K, W], counts above 0 where owned and nowhere else
    raises          ScenarioError
    """
    counts = counts.copy()
    held = counts.sum(axis=0)
    for worker in np.flatnonzero(held < least):
        while held[worker] < least:
            giver = _lend(counts, owned, np.where(held > least, held, 0), int(worker))
            if giver is None:
                raise _impossible("min_partition_size", least, f"the classes of worker {worker} have only "
                                  f"{held[worker]} training examples for it, one or more being left to every other "
                                  "owner; lower it, give more data, more classes_per_worker or fewer workers")
            held[[giver, worker]] += (-1, 1)
    return counts


def _lend(counts: Counts, owned: NDArray[np.bool_], spare: Counts, worker: int) -> int | None:
    """Move one example to `worker`, in place; return who has one less, or None where there is nobody.

    spare   [W] examples of those that may have one less, 0 for the others
    """
    above: dict[int, tuple[int, int]] = {}  # who hands on: the class, and to whom
    reached = [worker]
    for taker in reached:
        can_give = owned[:, [taker]] & (counts > 1)
        best = can_give * spare
        if best.any():
            row, giver = map(int, np.unravel_index(int(np.argmax(best)), best.shape))
            counts[row, [giver, taker]] += (-1, 1)
            while taker != worker:
                row, after = above[taker]
                counts[row, [taker, after]] += (-1, 1)
                taker = after
            return giver
        for row, giver in np.argwhere(can_give).tolist():
            if giver not in above and giver != worker:
                above[giver] = (row, taker)
                reached.append(giver)
    return None


def topped_up(counts: Counts, least: int) -> Counts:
    """Raise workers to `least` examples, one example at a time.

    It comes from a class that the worker holds already, where there is one to spare, and from the largest worker;
    never from one that would fall below `least` itself.  At most W `least` steps.
    """
    counts = counts.copy()
    held = counts.sum(axis=0)
    for worker in np.flatnonzero(held < least):
        while held[worker] < least:
            spare = np.where((counts > 0) & (held > least), held, 0)
            own = spare * (counts[:, [worker]] > 0)
            best = own if own.any() else spare
            row, giver = np.unravel_index(int(np.argmax(best)), best.shape)
            counts[row, [giver, worker]] += (-1, 1)
            held[[giver, worker]] += (-1, 1)
    return counts


def deal(labels: Counts, counts: Counts, rng: Generator) -> list[Counts]:
    """Return which examples each worker gets: every class in random order, cut at the counts [K, W]."""
    parts: list[list[Counts]] = [[] for _ in range(counts.shape[1])]
    for row, numbers in enumerate(counts):
        examples = rng.permutation(np.flatnonzero(labels == row))
        for worker, part in enumerate(np.split(examples, np.cumsum(numbers)[:-1])):
            parts[worker].append(part)
    return [np.concatenate(part) for part in parts]
