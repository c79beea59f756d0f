"""The laws of the house: the ledger balances, the clock is simulated, the world is the same for all policies."""

import itertools
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from tests_support import (
    QUADRATIC,
    Rows,
    counted_text,
    hand_device,
    hand_setup,
    language,
    play,
    small_scenario,
    small_setup,
)

from acesim.compressors import Dense, ErrorFeedback, TopK
from acesim.engine import Simulation, simulate
from acesim.network.flows import Flows
from acesim.network.lanes import Lane
from acesim.policies import RECIPES
from acesim.records.manifest import digest
from acesim.records.read import refold
from acesim.scenario.errors import LedgerError, PolicyError
from acesim.schedules import Fixed
from acesim.seam import Wire

NOMINAL = {"model": [{"name": "a", "shape": [50, 20]}, {"name": "b", "shape": [7]}],
           "tokens_per_step": {"cloud": 64, "edge": 64}}
HEAVY = {"model": [{"name": "a", "shape": [1_000_000]}], "tokens_per_step": {"cloud": "4 x 4096", "edge": "4 x 4096"}}
HEADER = 64


def run_digest(setup):
    played = play(setup)
    return digest(played.metrics, played.outcome.totals, played.outcome.model), played.outcome.training_digest


# ---- bytes

def test_full_sync_sends_every_parameter_of_every_worker_in_every_round():
    """P_nominal = 50 x 20 + 7: bytes_up = bytes_down = W (4 P + header) a round, to the byte."""
    played = play(small_setup(nominal=NOMINAL))
    for row in played.metrics:
        assert row.bytes_up == row.bytes_down == row.round * 6 * (4 * 1007 + HEADER)
    totals = played.outcome.totals
    assert totals["upload_values_bytes"] == 12 * 6 * 4 * 1007
    assert totals["upload_header_bytes"] == 12 * 6 * HEADER
    assert totals["upload_proxy_bytes"] == 12 * 6 * 4 * 24
    assert totals["upload_messages"] == totals["download_messages"] == 12 * 6


def test_bytes_on_links_are_messages_times_links():
    """Edge: own link, region, cloud; cloud workers: own link, fabric.  Cloud workers cause no egress."""
    played = play(small_setup(nominal=NOMINAL, cloud=2, edge=4))
    message = 4 * 1007 + HEADER
    assert played.metrics[-1].link_bytes == 12 * 2 * (4 * 3 + 2 * 2) * message
    assert played.metrics[-1].egress_bytes == 12 * 4 * message


@pytest.mark.parametrize("tree", ["star", "regions"])
def test_every_byte_of_every_message_crosses_every_link_of_its_way(tree):
    """Rebuilt from the event rows and the routes, link by link, and held against what the links say they moved."""
    setup = small_setup("top-k", cloud=2, edge=5)
    setup = replace(setup, policy=replace(setup.policy, tree=tree))
    simulation, rows = simulation_of(setup)
    simulation.run()
    expected = np.zeros(len(setup.topology.links))
    for event in rows.events:
        if event.kind in ("upload", "download"):
            world = simulation.world
            route, _ = world.route_up(event.who) if event.kind == "upload" else world.route_down(event.who)
            assert event.links == len(route)
            expected[list(route)] += event.message_bytes
    np.testing.assert_allclose(simulation.moved_bytes_per_link, expected, rtol=1e-9)


def simulation_of(setup):
    rows = Rows()
    return Simulation(setup, rows), rows


@pytest.mark.parametrize("factor", [0.999, 1.001])
@pytest.mark.parametrize(("network", "one_by_one"), [(Flows, True), (Lane, False)])
def test_a_network_that_loses_or_invents_bytes_ends_the_run(network, one_by_one, factor, monkeypatch):
    honest = network.moved_bytes_per_link.fget
    monkeypatch.setattr(network, "moved_bytes_per_link", property(lambda flows: factor * honest(flows)))
    with pytest.raises(LedgerError, match=r"link .+: \d+ bytes were handed to it, but it moved \d+ and 0 are in"):
        play(replace(small_setup(nominal={"model": [{"name": "a", "shape": [100_000]}],
                                          "tokens_per_step": {"cloud": 64, "edge": 64}}), one_by_one=one_by_one))


@dataclass(frozen=True)
class Understated(Dense):
    """A compressor whose payloads claim to be shorter than its formula says."""

    def encode(self, vector, level, rng, state):
        payload, state = super().encode(vector, level, rng, state)
        return payload._replace(nbytes=payload.nbytes - 1), state


@dataclass(frozen=True)
class Overstated(TopK):
    """A compressor whose formula charges what its payloads do not contain."""

    def sent(self, body, size, measure):
        return super().sent(body, size, measure)._replace(nbytes=8 * body.indices.size)

    def wire(self, shapes, measure):
        honest = super().wire(shapes, measure)
        return Wire(honest.values, honest.indices, honest.scales + 1)


@pytest.mark.parametrize("uplink", [Understated(), Overstated(0.5), ErrorFeedback(Overstated(0.5))])
def test_a_payload_that_is_not_what_its_formula_says_ends_the_run(uplink):
    setup = small_setup()
    with pytest.raises(LedgerError, match=r"cloud-\d: payload of \d+ bytes, but its compressor's formula gives \d+"):
        play(replace(setup, policy=replace(setup.policy, uplink=uplink)))


def test_a_downlink_that_miscounts_ends_the_run_too():
    setup = small_setup()
    with pytest.raises(LedgerError, match="cloud: payload of 95 bytes, but its compressor's formula gives 96"):
        play(replace(setup, policy=replace(setup.policy, downlink=Understated())))


# ---- the clock

@dataclass(frozen=True)
class Dawdling(Dense):
    """A compressor on which the host wastes its time; that is nobody's simulated time."""

    pause: ClassVar = staticmethod(time.sleep)

    def encode(self, vector, level, rng, state):
        self.pause(0.001)
        return super().encode(vector, level, rng, state)


def test_no_time_of_the_host_enters_the_simulation(monkeypatch, tmp_path):
    """All clocks of the host jump wildly, and its encoder dawdles: times, digest and rows stay what they were."""
    def setups():
        plain = small_setup(task=language(counted_text(tmp_path)))
        ace = small_setup("ace-sync")
        return plain, replace(plain, policy=replace(plain.policy, uplink=Dawdling())), ace

    plain, _, ace = (run_digest(setup) for setup in setups())
    jumps = itertools.cycle([1e9, -5.0, 3e12, 0.0, 7.5])
    for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time"):
        monkeypatch.setattr(time, name, lambda: next(jumps))
        monkeypatch.setattr(time, f"{name}_ns", lambda: int(next(jumps)))
    assert [run_digest(setup) for setup in setups()] == [plain, plain, ace]


def test_declared_work_of_the_encoder_is_simulated_time():
    """The same run with a compressor that declares work takes longer by exactly that work."""
    policy = replace(small_setup().policy, uplink=Dense("bf16"))
    light, heavy = (play(hand_setup(policy, up=[500], down=[500], step_s=[1], worker_device=device, rounds=1))
                    for device in (hand_device(), hand_device(600.0)))
    assert heavy.metrics[-1].time_s - light.metrics[-1].time_s == pytest.approx(1.0)  # 6 bytes an entry, 100 entries
    assert [event.end_s - event.start_s for event in heavy.of("encode")] == pytest.approx([1.0])


# ---- one world for all

class Watching:
    """A task that writes down which batch every worker had at every step."""

    def __init__(self, task):
        self._task, self.seen = task, {}

    def __getattr__(self, name):
        return getattr(self._task, name)

    def batches(self, workers, step):
        batch = self._task.batches(workers, step)
        for row, key in enumerate(zip(workers, step, strict=True)):
            assert key not in self.seen, f"(worker, step) {key} is trained twice"
            self.seen[key] = b"".join(np.ascontiguousarray(field[row]).tobytes() for field in batch)
        return batch


COMPRESSED = [("full-sync", {}), ("full-sync-optimised", {}), ("top-k", {"ratio": 0.1}),
              ("uniform-quantised", {"bits": 2}), ("ace-sync", {}), ("fedavg", {})]


@pytest.mark.parametrize("kind", ["quadratic", "language"])
def test_only_the_policy_differs(kind, tmp_path):
    """Batches, traces, weights at the start and times of computing are the same for all policies of a seed."""
    task = language(counted_text(tmp_path)) if kind == "language" else QUADRATIC
    scenario = small_scenario(task=task, edge=5, nominal=HEAVY)
    worlds = []
    for policy, parameters in COMPRESSED:
        setup = small_setup(policy, parameters, scenario=scenario, seed=3)
        task = Watching(setup.task)
        rows = Rows()
        simulate(replace(setup, task=task), rows)
        computed = {}
        for event in rows.events:
            if event.kind == "compute":
                first = computed.setdefault(event.who, [])
                first.append((event.steps, event.end_s - event.start_s))
        worlds.append((setup, task.seen, computed))
    first, seen, computed = worlds[0]
    for setup, batches, times in worlds[1:]:
        assert batches == seen
        np.testing.assert_array_equal(setup.task.initial(3), first.task.initial(3))
        for mine, theirs in zip(setup.topology.links, first.topology.links, strict=True):
            np.testing.assert_array_equal(mine.bytes_per_s, theirs.bytes_per_s)
        assert repr(setup.topology.region_of) == repr(first.topology.region_of)
        for worker, spans in times.items():
            mine_s = np.cumsum([span for _, span in spans])
            steps = np.cumsum([count for count, _ in spans])
            theirs_s = np.cumsum([span for _, span in computed[worker]])
            np.testing.assert_allclose(mine_s, theirs_s[steps - 1], rtol=1e-9)  # differences of a clock far along
        np.testing.assert_array_equal(setup.fleet.compute_s(4, 0, 300), first.fleet.compute_s(4, 0, 300))


def test_another_seed_is_another_world():
    one, other = (small_setup(seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.task.initial(0), other.task.initial(1))
    of_an_edge_worker = 2 * 3  # links of workers come first, up and down
    assert not np.array_equal(*(setup.topology.links[of_an_edge_worker].bytes_per_s for setup in (one, other)))
    assert not np.array_equal(*(setup.fleet.compute_s(3, 0, 5) for setup in (one, other)))
    assert run_digest(one) != run_digest(other)


@pytest.mark.parametrize("policy", sorted(RECIPES))
def test_the_same_run_twice(policy):
    assert run_digest(small_setup(policy)) == run_digest(small_setup(policy))


@pytest.mark.parametrize(("policy", "parameters"), [
    ("full-sync", {}), ("fedavg", {"local_steps": 3}), ("fedavg", {"fraction": 0.5}), ("cloud-only", {}),
    ("local-only", {}), ("ace-sync", {})])
def test_every_step_of_every_worker_is_trained_once(policy, parameters):
    """Epochs x steps x enrolled workers in all, whoever is drawn; without sampling, each worker as many."""
    setup = small_setup(policy, parameters, epochs=3)
    task, rows = Watching(setup.task), Rows()
    simulate(replace(setup, task=task), rows)
    enrolled = setup.policy.schedule.enrolled(np.array(setup.info.tier))
    assert len(task.seen) == rows.metrics[-1].local_steps == 3 * 6 * enrolled.sum()
    assert rows.metrics[-1].epoch == 3.0
    for worker in range(6):  # steps of a worker are consecutive from 0
        mine = sorted(step for row, step in task.seen if row == worker)
        assert mine == list(range(len(mine)))
        assert parameters.get("fraction") or len(mine) == 18 * enrolled[worker]


# ---- metrics are folds over events

@pytest.mark.parametrize("policy", sorted(RECIPES))
def test_metrics_are_folds_over_the_rows(policy):
    setup = small_setup(policy, epochs=3)
    played = play(setup)
    again = refold(played.frame(), 6, setup.info.regions, setup.info.tier)
    assert len(again) == len(played.metrics) == 4
    for name in again.columns.drop("round"):
        given = np.array([getattr(row, name) for row in played.metrics], dtype=float)
        np.testing.assert_array_equal(again[name].to_numpy(float), given, err_msg=name)


@pytest.mark.parametrize("policy", sorted(RECIPES))
def test_rows_are_sound(policy):
    """Nothing ends before it begins, no bytes or joules are negative, every message ends where its kind says."""
    setup = small_setup(policy)
    played = play(setup)
    for event in played.events:
        assert 0 <= event.start_s <= event.end_s < np.inf
        assert event.message_bytes >= 0
        assert event.joules >= 0
        assert 0 <= event.who <= 6 + setup.info.regions
        if event.kind in ("upload", "download"):
            assert event.peer >= 6
            assert event.header_bytes == HEADER
        if event.kind == "compute":
            assert event.steps >= 1
            assert np.isfinite(event.loss)
    by_worker = {}
    for event in played.of("compute"):  # a worker does one thing at a time
        assert event.start_s >= by_worker.get(event.who, 0.0)
        by_worker[event.who] = event.end_s


# ---- nothing is silently ignored

def scheduled(schedule):
    setup = small_setup()
    return replace(setup, policy=replace(setup.policy, schedule=schedule))


@dataclass(frozen=True)
class Changed(Fixed):
    """A schedule whose plans are changed by a function from some round on."""

    change: object = None
    since: int = 0

    def plan(self, view, state):
        plan, state = super().plan(view, state)
        return (self.change(plan) if view.round >= self.since else plan), state


@pytest.mark.parametrize("since", [0, 2])
def test_a_plan_without_participants(since):
    empty = Changed(change=lambda plan: replace(plan, participants=np.array([], np.int64)), since=since)
    with pytest.raises(PolicyError, match=rf"round {since}: the plan names no participant; a round needs at least one"):
        play(scheduled(empty))


@pytest.mark.parametrize(("name", "value"), [("weights", np.ones(5)), ("local_steps", np.ones(7, np.int64)),
                                             ("levels", [None] * 5)])
def test_a_plan_for_another_number_of_workers(name, value):
    short = Changed(change=lambda plan: replace(plan, **{name: value}), since=1)
    with pytest.raises(PolicyError, match=rf"round 1: {name} of {len(value)} workers: must have .* for each of 6"):
        play(scheduled(short))


@pytest.mark.parametrize(("name", "value"), [("local_steps", np.full(6, 1.5)), ("participants", list(range(6)))])
def test_a_plan_that_is_no_arrays_of_whole_numbers(name, value):
    with pytest.raises(PolicyError, match=r"round 0: participants and local_steps must be arrays of whole numbers"):
        play(scheduled(Changed(change=lambda plan: replace(plan, **{name: value}))))


def test_no_plan_at_all():
    with pytest.raises(PolicyError, match=r"round 0: the schedule's plan returned \(None, state\)"):
        play(scheduled(Changed(change=lambda plan: None)))


def test_a_plan_without_work():
    lazy = Changed(change=lambda plan: replace(plan, local_steps=np.where(np.arange(6) == 3, 0, 1)))
    with pytest.raises(PolicyError, match=r"round 0: worker edge-1 was asked for 0 local steps; .*at least one"):
        play(scheduled(lazy))


def test_local_steps_count_for_participants_only():
    """A plan may say 0 for those it does not name, even while they still work on what an earlier plan asked for."""
    odd_even = Alternating(quorum=0.0)
    setup = scheduled(odd_even)
    assert play(setup).metrics[-1].epoch >= 2.0


@dataclass(frozen=True)
class Alternating(Fixed):
    """Even workers in even rounds, odd ones in odd rounds; the others are told 0 steps and weight 0."""

    def plan(self, view, state):
        plan, state = super().plan(view, state)
        named = np.arange(6) % 2 == view.round % 2
        return replace(plan, participants=np.flatnonzero(named), local_steps=named.astype(np.int64),
                       weights=plan.weights * named), state


@pytest.mark.parametrize("weight", [0.0, -1.0, np.nan, np.inf])
def test_weights_that_are_not_positive(weight):
    wrong = Changed(change=lambda plan: replace(plan, weights=np.full(6, weight)), since=1)
    with pytest.raises(PolicyError, match=r"round 1: .*weight"):
        play(scheduled(wrong))


@pytest.mark.parametrize("rows", [[0, 6], [-1, 2], [1, 1]])
def test_participants_that_are_not_rows_of_the_fleet(rows):
    wrong = Changed(change=lambda plan: replace(plan, participants=np.array(rows)), since=1)
    with pytest.raises(PolicyError, match=r"round 1: .*participants"):
        play(scheduled(wrong))


DIVERGING = {"kind": "quadratic", "dimension": 24, "steps_per_epoch": 40,
             "optimizer": {"name": "sgd", "learning_rate": 1e4, "schedule": "constant", "warm_up": "0 rounds"}}


@pytest.mark.parametrize(("policy", "place"), [
    ("full-sync", r"round \d+: the model is no longer finite"), ("top-k", r"round \d+|TopK"),
    ("uniform-quantised", r"round \d+|Uniform"), ("ace-sync", r"round \d+|Grouped|group"),
    ("full-sync-optimised", r"round \d+")])
def test_a_learning_rate_that_diverges_says_so(policy, place):
    with np.errstate(all="ignore"), pytest.raises(PolicyError, match=rf"({place}).*lower the learning rate"):
        play(small_setup(policy, task=DIVERGING))


def test_a_worker_alone_that_diverges_says_so(tmp_path):
    setup = small_setup("local-only", {"inner_learning_rate": 1e30}, task=language(counted_text(tmp_path)))
    says = r"epoch 1.00: loss is (nan|inf); lower the learning rate"
    with np.errstate(all="ignore"), pytest.raises(PolicyError, match=says):
        play(setup)


class Poisoned(Watching):
    """A task whose scores are NaN from the second evaluation on."""

    def evaluate(self, parameters):
        scores = self._task.evaluate(parameters)
        self.asked = getattr(self, "asked", 0) + 1
        return scores if self.asked < 2 else scores._replace(loss_nats=np.nan)


def test_a_loss_that_is_not_a_number_ends_the_run():
    setup = small_setup()
    with pytest.raises(PolicyError, match=r"epoch 1.00: loss is nan; lower the learning rate"):
        play(replace(setup, task=Poisoned(setup.task)))


def test_nobody_enrolled():
    with pytest.raises(PolicyError, match="tier = cloud: no worker of the fleet is of this tier"):
        play(small_setup("cloud-only", cloud=0))


# ---- stop rules

def test_a_run_ends_at_its_last_epoch():
    played = play(small_setup(epochs=2.5))
    assert [row.epoch for row in played.metrics] == [0, 1, 2, 2.5]
    assert played.metrics[-1].progress == 1.0


def test_a_simulated_time_ends_a_run():
    whole = play(small_setup(epochs=4))
    half_s = whole.metrics[-1].time_s / 2
    played = play(small_setup(epochs=4, stop={"simulated_time": f"{half_s} s"}))
    last = played.metrics[-1]
    longest_s = max(np.diff([event.end_s for event in whole.of("aggregate")]))
    assert half_s <= last.time_s <= half_s + longest_s
    assert 0 < last.progress < 1
    assert played.outcome.rounds < whole.outcome.rounds
    same = [event for event in whole.of("aggregate")][: played.outcome.rounds]
    assert played.of("aggregate") == same  # up to there it is the same run


def test_total_bytes_end_a_run():
    """A round of 6 workers sends 12 messages of 4 x 24 + 64 = 160 bytes: 1920.  5000 bytes are three rounds."""
    played = play(small_setup(stop={"total_bytes": "5 kB"}))
    assert played.outcome.rounds == 3
    assert played.metrics[-1].bytes_up + played.metrics[-1].bytes_down == 3 * 1920


def test_a_target_accuracy_ends_a_run(tmp_path):
    """It is looked at where the model is scored, at epoch marks."""
    task = language(counted_text(tmp_path))
    whole = play(small_setup(task=task, epochs=6))
    reached = [row.top1_percent for row in whole.metrics]
    target = reached[3]
    first = next(mark for mark, percent in enumerate(reached) if percent >= target)
    assert 0 < first < 6
    played = play(small_setup(task=task, epochs=6, stop={"target_accuracy_percent": target}))
    assert [row.top1_percent for row in played.metrics] == reached[: first + 1]


def test_a_target_that_is_met_at_the_start_trains_nothing(tmp_path):
    played = play(small_setup(task=language(counted_text(tmp_path)), stop={"target_accuracy_percent": 1e-9}))
    assert len(played.metrics) <= 2


def test_the_last_row_stands_at_the_end_of_the_last_step():
    played = play(small_setup())
    assert played.metrics[-1].time_s == played.of("aggregate")[-1].end_s


def test_a_stop_rule_does_not_touch_the_learning_rate():
    """The schedule falls over the epochs, so a run that is stopped early is the beginning of the one that is not."""
    whole = play(small_setup(epochs=4))
    part = play(small_setup(epochs=4, stop={"total_bytes": "20 kB"}))
    marks = len(part.metrics) - 1
    assert [row.loss_nats for row in part.metrics[:marks]] == [row.loss_nats for row in whole.metrics[:marks]]


# ---- evaluation

def test_the_model_is_scored_every_so_many_rounds_and_at_the_end():
    setup = small_setup(scenario=small_scenario().model_copy(update={"evaluate_every_rounds": 5}))
    assert [row.round for row in play(setup).metrics] == [0, 5, 10, 12]
    assert [row.round for row in play(small_setup()).metrics] == [0, 6, 12]


def test_figures_of_workers_are_in_the_rows_of_tasks_that_have_them():
    task = {"kind": "image-classification", "model": {"kind": "linear"}, "batch_size": 4, "steps_per_epoch": 2}
    pytest.importorskip("sklearn")
    rows = play(small_setup(task=task)).metrics
    assert all(0 <= row.worker_worst_percent <= row.worker_mean_percent <= 100 for row in rows)
    assert np.isnan(play(small_setup()).metrics[-1].worker_mean_percent)
