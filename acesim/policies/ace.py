"""ACE-Sync: one recipe with a switch for every part, and the presets and ablations that are compared by name.

docs/ace-sync.md goes through the paper equation by equation and says where each lives.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from acesim.aggregators import Outer, Personal, Replay
from acesim.compressors import CachedFeedback, Dense, ErrorFeedback, Grouped, Lattice, Predictive, Uniform
from acesim.learning.ahead import LastStep, LookAhead
from acesim.learning.local import GradientStep
from acesim.scenario.errors import PolicyError
from acesim.schedules import AceSchedule, Attention, Budgets, Clusters, Intervals, Pace, Turns
from acesim.seam import KINDS, Compressor, Group, LocalTraining, ModelInfo, TreePolicy

DOWNLINKS = ("dense", "8-bit", "4-bit", "2-bit", "lattice")
CODINGS = ("levels", "lattice")
AHEAD = ("server", "last-step")


def ace_sync(info: ModelInfo, c_min: float = 2.0, c_max: float = 10.0, beta: float = 1.0, c: float | None = None,
             region_c: float | None = None, deadline_s: float | None = None, pace: float | None = None,
             careful: float | None = None, alpha: float = 0.5, attention: bool = True, curvature: bool = False,
             top_p: float = 0.0, knapsack: bool = True, operator: str = "nearest", coding: str = "levels",
             offset: float = 0.4, error_feedback: bool = True, gamma: float = 1.0, cache: float = 0.0,
             rest_every: int = 1, rest_share: float = 0.5, clusters: int = 4, recluster_every: int = 50,
             sketch: int = 0, latency_power: float = 0.0, turns: int = 1, h_min: int = 1, h_max: int = 1,
             ahead: str = "server", down: str = "dense", down_c: float = 16.0, down_rho: float = 0.0, warm_up: int = 2,
             tree: str = "regions", personal: str | Sequence[str] = ()) -> TreePolicy:
    """ACE-Sync: learned importance, budgets from measured bandwidth, a knapsack of groups x levels, residuals, regions.

    c_min, c_max, beta   of c_k(t) = c_min + (c_max - c_min) exp(-beta B_k / B_ref)  [5]
    c                    one compression factor for all, whatever their links; null: [5]
    region_c             compression factor of what regions send up, who are few; null: as their workers
    deadline_s           a round's transfer may take no longer
    pace                 share of a round's slowest computation that messages may add to it: who is slower sends more
                         coarsely (c_max at most), then all receive so, then h grows to h_max; null: no matter
    careful              quantile of its last 20 bandwidths that a worker's deadline is reckoned with; null: the mean
    alpha                share of the temporal branch of the importance  [3]
    attention            False: every group is as important as any other (ablation)
    curvature            divide a group's value by the root of the server's mean v: what its update will be divided by
    top_p                share of groups in full precision if the budget allows  [2]; costs 1.2 points at c = 8, so 0
    knapsack             False: no group is preferred, one level for all at equal bytes (ablation)
    operator             how levels round: "nearest"; "stochastic" is [6] as it stands (without error_feedback only:
                         with it, it diverges, and is refused); "shrunk" is [6] over 1 + omega
    coding               "levels" (the paper's: a level for each group), or "lattice": one step for all and an entropy
                         code
    offset               of the lattice: .5 rounds to nearest, less leaves more zeros
    error_feedback       False: what is not sent is lost (ablation)
    gamma                of the residual correction  [7]
    cache                rho: for a group that is not sent the server uses rho^n times its last value, n rounds ago  [7]
    rest_every           r: the rest_share least important groups are sent every r-th round only, in turns
    rest_share           share of the groups that are sent at intervals
    clusters             k of k-means over workers; a cluster has one interval, and the budget of its slowest
                         quartile; 0: none
    recluster_every      rounds between clusterings
    sketch               numbers that workers report of their update's direction for the clustering; 0: none
    latency_power        lambda of min(1, median round time / own)^lambda in the weights  [8]; 0: latency does not count
    turns                h cohorts take turns, each worker with h batches at the model it was sent: as many gradients a
                         step at an h-th of the messages, and of the speed where computing is what takes time
    h_min, h_max         bounds of the local steps between messages, by drift  [9]; equal: fixed
    ahead                where the later steps' gradients are taken: along a copy of the "server"'s optimizer, or
                         along the "last-step" that the model took (needs no dense downlink, knows no drift)
    down                 the model's way down: "dense" fp32, "8-bit", "4-bit" or "2-bit" differences, or a "lattice"
    down_c               compression factor of a lattice on the way down
    down_rho             share of the model's last step that workers expect again, and are told the rest of; 0: none
    warm_up              first rounds in full precision: the paper's gradient snapshots
    tree                 "regions" (edge - region - cloud) or "star" (ablation)
    personal             groups whose entries are aggregated inside a cluster and not globally, and scored on each
                         worker's own held-out data: kinds of tensor, "bias", or names of tensors and groups
    source               arXiv 2512.18127, as read in docs/ace-sync.md
    """
    sizes = tuple(group.size for group in info.groups)
    clustering = Clusters(clusters, recluster_every, sketch=sketch) if clusters else None
    chosen = _personal(info, [personal] if isinstance(personal, str) else personal)
    if chosen:
        _demand(clusters > 0, f"personal = {personal!r}, clusters = {clusters}",
                "entries are personal to a cluster of workers: needs clusters of at least 1")
        _demand(down == "dense", f"personal = {personal!r}, down = {down!r}", "needs down = 'dense'")
        _demand(turns == 1, f"personal = {personal!r}, turns = {turns}", "needs every cluster in every round")
        _demand(h_max == 1 or ahead == "last-step", f"personal = {personal!r}, h_max = {h_max}, ahead = {ahead!r}",
                "workers cannot know the optimizer of their cluster's entries; take ahead = 'last-step'")
    _demand(0 < offset <= 0.5, f"offset = {offset}", "must lie in (0, .5]")
    _demand(down_c >= 1, f"down_c = {down_c}", "must be at least 1")
    _demand(region_c is None or region_c >= 1, f"region_c = {region_c}", "must be at least 1, or null for c")
    schedule = AceSchedule(
        Budgets(4 * info.nominal_size, c_min, c_max, beta, c, deadline_s), Attention(info.groups, alpha=alpha),
        attention, top_p, warm_up, clustering, Intervals(h_min, h_max), latency_power, curvature, rest_every,
        rest_share, region_c, careful, down_c if down == "lattice" else None, Turns(turns),
        None if pace is None else Pace(pace), bool(chosen))
    if coding == "lattice":
        _demand(cache == 0 and knapsack and top_p == 0, "coding = 'lattice'",
                "goes with cache = 0, top_p = 0 and knapsack = true: it has no levels to choose from")
        _demand(operator == "nearest", f"coding = 'lattice', operator = {operator!r}", "goes with operator = 'nearest'")
        inner: Any = Lattice(sizes, info.nominal_size, info.nominal_block, offset=offset)
    else:
        _demand(coding in CODINGS, f"coding = {coding!r}", f"must be one of {', '.join(CODINGS)}")
        _demand(knapsack or top_p == 0, f"top_p = {top_p}", "needs the knapsack")
        inner = Grouped(sizes, nominal_size=info.nominal_size, nominal_block=info.nominal_block,
                        choice="knapsack" if knapsack else "uniform", rounding=operator)
    _demand(turns == 1 or h_max == 1, f"turns = {turns}, h_max = {h_max}",
            "cannot both exceed 1: a turn's batches are taken at one model")
    _demand(pace is None or turns == 1, f"pace = {pace}, turns = {turns}",
            "exclude each other: who waits for a turn is slow")
    local = _local(h_min, h_max, ahead, pace is not None)
    rule, rate = info.optimizer.rule, info.optimizer.learning_rate(info.total_steps)
    server: Any = Outer(rule, rate) if h_max == 1 else Replay(rule, rate)
    if chosen:
        server = Personal(server, chosen, info.size, _variants(info, clusters))
    uplink = _corrected(inner, error_feedback, gamma, cache)
    remarks = ("this model has no group that personal asks for: nothing is",) if personal and not chosen else ()
    return TreePolicy(local, uplink, server, _down(info, down, sizes, down_rho), schedule, tree, remarks)


def _variants(info: ModelInfo, clusters: int) -> int:
    """Return how many clusters there can be: those of the edge, and the data centre's."""
    edge = info.tier.count("edge")
    return max(1, min(clusters, edge) + (edge < len(info.tier)))


def _personal(info: ModelInfo, words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the personal entries; of a model that is not known yet, any one stands for them."""
    named = isinstance(words, Sequence) and all(isinstance(word, str) for word in words)
    _demand(named, f"personal = {words!r}", "must be names of kinds, tensors or groups; [] for none")
    return ((0, 1),) if words and info.sketched else personal_spans(info.groups, words)


def personal_spans(groups: Sequence[Group], words: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Return the stretches of entries of the groups that are meant, joined where they touch.

    words   a kind of tensor; "bias"; the name of a group, of a tensor that is cut, of what a tensor is part of ("h.0"),
            or the last of its parts.  A kind, and "bias", may mean nothing in a model, a name may not
    """
    spans: list[tuple[int, int]] = []
    for word in words:
        if word not in (*KINDS, "bias") and not any(_meant(group, word) for group in groups):
            near = difflib.get_close_matches(word, [group.name for group in groups] + list(KINDS), n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            raise PolicyError(f"personal = {word!r}: no such group; {hint}(knows the kinds {', '.join(KINDS)}; bias; "
                              f"and names of tensors, of {groups[0].name} to {groups[-1].name})")
    for group in groups:
        if any(_meant(group, word) for word in words):
            joined = spans.pop()[0] if spans and spans[-1][1] == group.start else group.start
            spans.append((joined, group.stop))
    return tuple(spans)


def _meant(group: Group, word: str) -> bool:
    return word == group.kind or word == group.name or group.name.startswith(f"{word}.") \
        or group.name.endswith(f".{word}")


def _demand(holds: bool, what: str, rule: str) -> None:
    if not holds:
        raise PolicyError(f"{what}: {rule}")


def _corrected(inner: Any, error_feedback: bool, gamma: float, cache: float) -> Compressor:
    if not error_feedback:
        _demand(cache == 0, f"cache = {cache}", "needs error_feedback, which keeps account of it")
        return inner  # type: ignore[no-any-return]
    return CachedFeedback(inner, cache, gamma) if cache else ErrorFeedback(inner, gamma)


def _local(h_min: int, h_max: int, ahead: str, paced: bool) -> LocalTraining:
    _demand(ahead in AHEAD, f"ahead = {ahead!r}", f"must be one of {', '.join(AHEAD)}")
    if h_max == 1:
        return GradientStep()
    if ahead == "server":
        return LookAhead()
    _demand(h_min == h_max or paced, f"h_min = {h_min}, h_max = {h_max}",
            "must be equal with ahead = 'last-step', which knows no drift, unless there is a pace")
    return LastStep()


def _down(info: ModelInfo, down: str, sizes: tuple[int, ...], rho: float) -> Compressor:
    _demand(down in DOWNLINKS, f"down = {down!r}", f"must be one of {', '.join(DOWNLINKS)}")
    _demand(down != "dense" or not rho, f"down_rho = {rho}", "needs a lossy down: a dense one sends the model itself")
    if down == "dense":
        return Dense()
    inner = Lattice(sizes, info.nominal_size, info.nominal_block) if down == "lattice" else \
        Uniform(int(down[0]), sizes, info.nominal_block)
    return Predictive(inner, rho) if rho else inner


def preset(what: str, **changed: Any) -> Callable[..., TreePolicy]:
    """Return the recipe of ace-sync with other defaults, and its own first line."""
    def recipe(info: ModelInfo, **parameters: Any) -> TreePolicy:
        return ace_sync(info, **(changed | parameters))
    signature = inspect.signature(ace_sync)
    given = [each.replace(default=changed.get(name, each.default)) for name, each in signature.parameters.items()]
    recipe.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
    told = ", ".join(f"{name}: {value}" for name, value in changed.items())
    rest = (inspect.getdoc(ace_sync) or "").split("\n", 1)[1]
    recipe.__doc__ = f"{what}\n\nace-sync with {told}.\n{rest}"
    return recipe


PAPER = preset("ACE-Sync by its letter: c up to 64, a tenth in full precision, cached values, intervals by drift.",
               c_max=64.0, top_p=0.1, cache=0.5, h_max=4)
PLUS = preset("Beyond the paper: an entropy-coded lattice both ways, steps foreseen; coarser where a link is slow.",
              c=9.5, region_c=6.0, c_max=32.0, pace=0.15, attention=False, coding="lattice", down="lattice",
              down_c=13.0, down_rho=0.8)
TURNS = preset("Fewest bytes: four cohorts take turns, an entropy-coded lattice up and down; slow where computing is.",
               c=8.0, attention=False, coding="lattice", down="lattice", down_c=8.0, turns=4, tree="star")
NO_ATTENTION = preset("Without the predictor: every group is as important as any other.", attention=False)
NO_KNAPSACK = preset("Without the knapsack: one level for all groups, at equal bytes.", knapsack=False)
NO_ERROR_FEEDBACK = preset("Without residuals: what is not sent is lost.", error_feedback=False)
NO_CLUSTERS = preset("Without clusters: every worker by its own bandwidth.", clusters=0)
CACHE = preset("With cached values for groups that are not sent.", cache=0.5)
TOP_P = preset("With the most important tenth of the groups in full precision.", top_p=0.1)
ADAPTIVE_INTERVAL = preset("With 1 to 4 local steps between messages, by drift.", h_max=4)
FLAT = preset("Without regions: every worker sends to the cloud.", tree="star")
PERSONAL = preset("With biases and norms of a cluster's own, scored on each worker's own held-out data.",
                  personal=("norm", "bias"))
LATENCY_WEIGHTS = preset("With slow workers counting for less.", latency_power=1.0)
