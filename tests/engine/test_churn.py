"""Workers that come and go: whole timelines against numbers reckoned by hand, and runs that end whatever happens."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests_support import hand_device, hand_setup, play, small_scenario, small_setup

from acesim.aggregators import Outer
from acesim.compressors import Dense, ErrorFeedback, TopK
from acesim.fleet.phases import Recorded
from acesim.fleet.presence import Presence
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.records.read import refold
from acesim.scenario import Scenario
from acesim.scenario.errors import PolicyError
from acesim.schedules import Fixed
from acesim.seam import Chunk, TreePolicy

HALF = Outer(SGD(), LearningRate("constant", 0.5))
SECOND = hand_device(2800.0)  # a server's step costs 28 bytes an entry: one second for 100 entries
FOREVER = 1e9


def policy(schedule=None, uplink=None, tree="star", local=None):
    return TreePolicy(local or GradientStep(), uplink or Dense(), HALF, Dense(), schedule or Fixed(), tree)


def away(*spans):
    """A switch that is off in these spans."""
    marks = [(0.0, True), *((time, on) for span in spans for time, on in zip(span, (False, True), strict=True))]
    return Recorded(tuple(time for time, _ in marks), tuple(on for _, on in marks), FOREVER)


def gone(*spans, **facts):
    return Presence(away(*spans), **facts)


def world(presence, played_policy=None, timeout_s=None, **facts):
    """Worker 0: down 500/1000 + .25, computes 2, up 500/500 + .25 -> 4.
    Worker 1: down 500/250 + .5, computes 1, up 500/125 + .5 -> 8.  The server steps for a second."""
    usual = {"up": [500, 125], "down": [1000, 250], "step_s": [2, 1], "latency_s": [0.25, 0.5], "cloud_device": SECOND,
             "rounds": 2}
    setup = hand_setup(played_policy or policy(), **(usual | facts))
    return replace(setup, fleet=replace(setup.fleet, presence=tuple(presence)), timeout_s=timeout_s)


def rows(played):
    return [row for row in played.timeline() if row[0] not in ("figure", "evaluate")]


def lost(played):
    return [(event.name, event.who, event.start_s, event.end_s, event.value) for event in played.of("lost")]


def test_who_goes_while_computing_loses_that_and_nobody_waits():
    """1 goes at 3, while computing, and is back at 6: round 0 closes with 0's answer at 4, round 1 is 0's alone, and in
    round 2 both take part; 1 begins with the step that it lost."""
    played = play(world([None, gone((3, 6))]))
    assert rows(played) == [
        ("plan", 3, 0, 0), ("download", 0, 0, 0.75), ("download", 1, 0, 2.5), ("compute", 0, 0.75, 2.75),
        ("leave", 1, 3, 3), ("lost", 1, 2.5, 3), ("upload", 0, 2.75, 4), ("aggregate", 3, 4, 5),
        ("plan", 3, 5, 5), ("download", 0, 5, 5.75), ("join", 1, 6, 6), ("compute", 0, 5.75, 7.75),
        ("upload", 0, 7.75, 9), ("aggregate", 3, 9, 10),
        ("plan", 3, 10, 10), ("download", 0, 10, 10.75), ("download", 1, 10, 12.5), ("compute", 0, 10.75, 12.75),
        ("compute", 1, 12.5, 13.5), ("upload", 0, 12.75, 14), ("upload", 1, 13.5, 18), ("aggregate", 3, 18, 19)]
    assert played.outcome.totals["lost_computations"] == 1
    assert played.metrics[-1].progress == 1.0


def test_an_upload_that_is_cut_short():
    """1's upload began at 3.5 at 125 bytes/s: at 5.5, when it goes, 250 of 500 bytes have left.  0's answer is there
    since 4, so the round closes at 5.5."""
    played = play(world([None, gone((5.5, 5.75))]))
    assert lost(played) == [("upload", 1, 3.5, 5.5, 250)]
    assert played.timeline("aggregate")[0] == ("aggregate", 3, 5.5, 6.5)
    totals = played.outcome.totals
    assert totals["lost_bytes_up"] == 250
    assert totals["bytes_up"] == 500 * len(played.of("upload"))


def test_a_download_that_is_cut_short():
    """1's download takes 2 s and .5 s on the way; at 1 half of it has left.  The round is 0's alone."""
    played = play(world([None, gone((1, 1.5))]))
    assert lost(played) == [("download", 1, 0, 1, 250)]
    assert played.timeline("aggregate")[0] == ("aggregate", 3, 4, 5)
    assert played.outcome.totals["lost_egress_bytes"] == 250
    assert played.outcome.totals["egress_bytes"] == played.outcome.totals["bytes_down"] + 250
    assert played.timeline("download")[1:3] == [("download", 0, 5, 5.75), ("download", 1, 5, 7.5)]


def test_a_download_that_has_left_is_lost_on_the_way():
    played = play(world([None, gone((2.25, 2.75))]))
    assert lost(played) == [("download", 1, 0, 2.25, 500)]


def test_an_upload_that_has_left_arrives():
    """All of it has left at 7.5 and arrives at 8, though its sender went at 7.75."""
    played = play(world([None, gone((7.75, 8.5))]))
    assert lost(played) == []
    assert ("upload", 1, 3.5, 8) in played.timeline("upload")
    assert played.timeline("aggregate")[0] == ("aggregate", 3, 8, 9)
    assert [event.start_s for event in played.of("download") if event.who == 1][1] == 9  # it is back at 8.5


def test_who_finishes_before_it_goes():
    """1 goes at 3 but ends its round; it is not asked again before it is back."""
    played = play(world([None, gone((3, 9.5), finishes=True)]))
    assert lost(played) == []
    assert played.timeline("aggregate")[0] == ("aggregate", 3, 8, 9)
    assert [event.start_s for event in played.of("download") if event.who == 1] == [0, 14]


def test_a_crash_never_asks():
    crash = Presence(faults=away((3, 6)), finishes=True)
    played = play(world([None, crash]))
    assert lost(played)[0][:2] == ("compute", 1)
    assert [row for row in rows(played) if row[0] == "crash"] == [("crash", 1, 3, 3)]
    assert [row[:3] for row in rows(played)][:8] == [row[:3] if row[0] != "leave" else ("crash", *row[1:3]) for row in
                                                     rows(play(world([None, gone((3, 6))])))][:8]


def test_a_round_that_lost_everybody_is_planned_again_when_somebody_comes():
    """Both go at 1 and come back at 20 and 30: round 0 goes on with 0 alone, under its number."""
    played = play(world([gone((1, 20)), gone((1, 30))]))
    assert [(event.round, event.start_s) for event in played.of("plan")][:3] == [(0, 0), (0, 20), (1, 25)]
    assert played.timeline("download")[1:2] == [("download", 0, 20, 20.75)]
    assert played.timeline("aggregate")[0] == ("aggregate", 3, 24, 25)
    assert played.outcome.rounds == max(event.round for event in played.of("aggregate")) + 1


def test_who_joins_later_and_who_leaves_for_good():
    played = play(world([Presence(leave_s=4.5), Presence(join_s=4.5)], rounds=2, steps_per_epoch=1))
    assert {event.start_s for event in played.of("download") if event.who == 1} == {5, 14, 23}
    assert [event.who for event in played.of("compute")] == [0, 1, 1, 1]


def test_a_round_whose_workers_have_all_left_for_good_is_drawn_anew():
    """Worker 0 leaves in round 2: where it is drawn alone, worker 1 is asked in its place."""
    played = play(world([Presence(leave_s=12), None], policy(Fixed(fraction=0.5)), rounds=12))
    assert played.metrics[-1].progress == 1.0
    assert {event.who for event in played.of("download") if event.start_s < 12} == {0, 1}
    assert {event.who for event in played.of("download") if event.start_s > 12} == {1}


def test_a_turn_of_workers_who_have_all_left_for_good_is_passed_on():
    """After the first round, of everybody, six workers are dealt to three cohorts; then four of them leave."""
    setup = small_setup("ace-sync", {"turns": 3, "warm_up": 1}, cloud=2, edge=4, epochs=3)
    first_s = next(event.end_s for event in play(setup).events if event.kind == "aggregate" and event.round == 0)
    leavers = [None] * 2 + [Presence(leave_s=1.01 * first_s)] * 4
    played = play(replace(setup, fleet=replace(setup.fleet, presence=tuple(leavers))))
    assert played.metrics[-1].progress == 1.0
    assert {event.who for event in played.of("compute") if event.round > 6} == {0, 1}


@dataclass(frozen=True)
class Told(Fixed):
    """Asks worker 0 alone, and notes the updates that it is told of."""

    told: list = field(default_factory=list)

    def plan(self, view, state):
        self.told.append(view.update is not None)
        plan, state = super().plan(view, state)
        return replace(plan, participants=np.array([0])), state


def test_an_update_is_told_once_however_often_a_round_is_planned():
    """0 is away from 5 on, when round 1 is planned: twenty times at once, and again when somebody comes or goes."""
    schedule = Told()
    played = play(world([gone((5, 30)), gone((7, 8))], policy(schedule), rounds=3))
    assert len(schedule.told) > 20 + played.outcome.rounds
    assert schedule.told.count(True) == played.outcome.rounds - 1


def test_everybody_has_left():
    with pytest.raises(PolicyError, match="after 6 s every worker has left for good"):
        play(world([Presence(leave_s=4.5), Presence(leave_s=5)]))


def test_workers_that_are_never_there_for_a_step_are_refused_and_not_waited_for():
    """Each is there for a second in two; their steps take two seconds and one, after downloads of .75 and 2.5."""
    blinks = Presence(Recorded((0.0, 1.0), (True, False), 2.0))
    with pytest.raises(PolicyError, match=r"10000 downloads and computations in a row were cut short, .* for longer"):
        play(world([blinks, blinks]))


def test_a_quorum_is_a_share_of_those_who_are_there():
    """Four alike, a quorum of .75: three answers of four; of three that are left, three; of two, two."""
    def closes(presence):
        setup = world(presence, policy(Fixed(quorum=0.75)), up=[500] * 4, down=[500] * 4, step_s=[1, 2, 3, 4],
                      latency_s=0.0, rounds=1)
        return play(setup).timeline("aggregate")[0][2]
    assert closes([None] * 4) == 5  # down 1, computes, up 1
    assert closes([gone((1.5, 99)), *[None] * 3]) == 6
    assert closes([gone((1.5, 99)), None, None, gone((1.5, 99))]) == 5
    assert closes([gone((1.5, 99)), None, None, gone((5.5, 99))]) == 5.5  # the second goes when two answers are there


def test_a_timeout_goes_on_with_the_answers_that_are_there():
    """After 5 s only 0 has answered; 1's answer comes at 8 and counts in round 1, one version late."""
    played = play(world([], timeout_s=5.0))
    assert played.timeline("aggregate")[:2] == [("aggregate", 3, 5, 6), ("aggregate", 3, 10, 11)]
    assert [(event.who, event.start_s, event.end_s, event.staleness) for event in played.of("upload")][:3] == [
        (0, 2.75, 4, 0), (1, 3.5, 8, 1), (0, 8.75, 10, 0)]


def test_a_timeout_without_any_answer_waits_for_the_first():
    played = play(world([], timeout_s=3.0))
    assert played.timeline("aggregate")[0] == ("aggregate", 3, 4, 5)


def test_what_was_cut_short_goes_back_to_the_residual():
    """1's whole gradient is sent again: what the server got and what 1 still holds add up to its gradients."""
    setup = world([None, gone((5.5, 5.75))], policy(uplink=ErrorFeedback(TopK(0.5))), centres=[0, 8], up=[500, 31.25])
    (cut, *_) = lost(play(setup))
    assert cut[0] == "upload"
    notes = []

    class Noting(ErrorFeedback):
        def encode(self, vector, level, rng, state):
            notes.append((vector.astype(float), state.residual.astype(float)))
            return super().encode(vector, level, rng, state)
    played = play(replace(setup, policy=policy(uplink=Noting(TopK(0.5)))))
    of_1 = [note for note, event in zip(notes, played.of("compute"), strict=True) if event.who == 1]
    np.testing.assert_allclose(of_1[1][1], of_1[0][0], rtol=1e-6)


def test_early_parts_that_have_left_are_lost_too():
    """Halves of 300 bytes at 3.125 and 4.125 on a line of 500 bytes/s; at 4 only the first has left."""
    halves = (Chunk(0.5, 0.5), Chunk(0.5, 1.0))
    setup = world([gone((4, 5))], policy(uplink=Dense(chunks=halves)), up=[500], down=[500], step_s=[3],
                  latency_s=0.125, rounds=1)
    assert lost(play(setup))[0] == ("upload", 0, 3.125, 4, 300)


def test_alone_who_goes_is_not_waited_for():
    local = LocalSteps(SGD(), LearningRate("constant", 0.5))
    played = play(world([None, gone((1.5, 2.5))], policy(Fixed(local_steps=2, sync_parent=False), local=local),
                        step_s=[1, 2], rounds=4))
    assert played.timeline("plan", "compute")[:4] == [
        ("plan", 3, 0, 0), ("compute", 0, 0, 2), ("plan", 3, 2, 2), ("compute", 0, 2, 4)]
    assert ("compute", 1, 4, 8) in played.timeline("compute")


def regional(presence, schedule=None, **facts):
    """As in test_timelines.test_regions: regions {0, 1} and {2}; region 1's answer is there at 7, region 0's at 11."""
    usual = {"up": [500, 250, 500], "down": [1000, 500, 500], "step_s": [1, 2, 1], "region_of": [0, 0, 1],
             "region_up": [125, 500], "region_down": [500, 250], "region_latency_s": 0.5, "latency_s": 0.0, "rounds": 1}
    return world(presence, policy(schedule, tree="regions"), **(usual | facts))


def test_a_region_without_workers_is_not_waited_for():
    """Both of region 0's workers go while they compute: the cloud goes on with region 1's answer."""
    played = play(regional([gone((2.5, 99)), gone((3, 99)), None]))
    assert played.timeline("aggregate")[:2] == [("aggregate", 4, 5.5, 5.5), ("aggregate", 5, 7, 8)]


def test_a_region_sums_those_who_are_left():
    """1 goes at 5, while sending: region 0 answers with 0's alone, from 5 on."""
    played = play(regional([None, gone((5, 99)), None]))
    assert ("aggregate", 3, 5, 5) in played.timeline("aggregate")
    assert ("upload", 3, 5, 9.5) in played.timeline("upload")


def test_a_model_on_its_way_to_a_region_whose_workers_are_gone():
    """Region 1's only worker goes before the model is there (2.5): the cloud does not wait for that region."""
    played = play(regional([None, None, gone((1, 99))]))
    assert played.timeline("aggregate")[:2] == [("aggregate", 3, 6.5, 6.5), ("aggregate", 5, 11, 12)]
    assert ("download", 4, 0, 2.5) in played.timeline("download")


# ---- whatever happens

spans = st.lists(st.floats(0.1, 12), min_size=1, max_size=6)


@st.composite
def presences(draw):
    """Present and away in turn, for ever; or always there."""
    if draw(st.booleans()):
        return None
    lengths = draw(spans)
    ends = np.cumsum([0.0, *lengths]).tolist()
    first = draw(st.booleans())
    states = [(row % 2 == 0) == first for row in range(len(lengths))]
    record = Recorded(tuple(ends[:-1]), tuple(states), ends[-1] + 20.0) if any(states) else None
    if record is not None and not states[-1]:  # the last span lasts 20 s longer: let it be one in which it is there
        record = Recorded((*ends[:-1], ends[-1]), (*states, True), ends[-1] + 20.0)
    broken = Recorded((0.0, draw(st.floats(1, 9)), 15.0), (True, False, True), 40.0) if draw(st.booleans()) else None
    return Presence(record, broken, draw(st.sampled_from([0.0, 3.0])), finishes=draw(st.booleans()))


@settings(max_examples=120, deadline=None)
@given(st.data(), st.integers(1, 5), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1.0, 0.5]),
       st.sampled_from(["apply", "cancel", "to_residual"]), st.sampled_from(["star", "regions"]),
       st.sampled_from([None, 2.0]), st.booleans())
def test_every_run_ends_and_its_ledger_balances(data, workers, quorum, fraction, late, tree, timeout_s, early):
    """The ledger itself is held against the links at every evaluation; here: what was sent arrived, or was lost."""
    def drawn(values, count=workers):
        return data.draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))
    regions = data.draw(st.integers(1, 2)) if tree == "regions" else 0
    chunks = (Chunk(0.5, 0.5), Chunk(0.5, 1.0)) if early else ()
    uplink = Dense(chunks=chunks) if early and late != "to_residual" else ErrorFeedback(TopK(0.5))
    played_policy = policy(Fixed(quorum=quorum, fraction=fraction, late=late), uplink, tree)
    setup = world([data.draw(presences()) for _ in range(workers)], played_policy, timeout_s, up=drawn([100, 500]),
                  down=drawn([100, 500]), step_s=drawn([0.1, 1]), latency_s=data.draw(st.sampled_from([0.0, 0.25])),
                  region_of=drawn(range(regions)) if regions else None, region_up=drawn([500, 5000], regions),
                  region_down=drawn([500, 5000], regions),
                  region_latency_s=0.25 if regions else 0.0, rounds=data.draw(st.integers(1, 6)))
    played = play(setup)
    assert played.metrics[-1].progress == 1.0
    for event in played.of("lost"):
        assert event.name == "compute" or 0 <= event.value <= (600 if early else 500) + 1e-6  # a header a chunk
    for row, presence in enumerate(setup.fleet.presence):
        if presence is not None:
            asked = [event.start_s for event in played.of("download") if event.who == row]
            cut = [event for event in played.of("lost") if event.who == row]
            computed = [event for event in played.of("compute") if event.who == row]
            assert len(computed) <= len(asked)
            if not presence.finishes:
                for event in computed:  # whoever is away does not compute
                    assert presence.at(event.start_s).there or event.start_s in [each.end_s for each in cut]


def scenario(**edge):
    access = {"kind": "constant", "downlink": "5-200 Mbps", "uplink": "5-200 Mbps", "rtt": "10-300 ms"}
    groups = [{"name": "cloud", "count": 2, "device": "a100", "access": {"kind": "datacenter"}},
              {"name": "edge", "count": 4, "device": "n100", "access": access} | edge]
    return Scenario.model_validate({
        "name": "small", "stop": {"epochs": 2}, "task": {"kind": "quadratic", "dimension": 24, "steps_per_epoch": 6},
        "workers": groups, "network": {"regions": 2}, "policies": ["full-sync"],
        "nominal": {"model": "transformer-350m", "tokens_per_step": {"cloud": 64, "edge": 64}}})


OFF = {"compute": {"stragglers": {"spread": 0, "share": 0}}, "availability": {"on_leave": "finish"},
       "faults": {"repair": "1 h"}, "overrides": []}


@pytest.mark.parametrize("name", ["full-sync", "top-k", "fedavg", "ace-sync"])
def test_what_is_switched_off_changes_nothing(name):
    plain, off = (play(small_setup(name, scenario=found)) for found in (scenario(), scenario(**OFF)))
    assert plain.outcome.training_digest == off.outcome.training_digest
    assert plain.timeline() == off.timeline()
    assert plain.outcome.totals == off.outcome.totals
    assert not any(key.startswith("lost") for key in plain.outcome.totals)


BUSY = {"availability": {"present": "40 min", "absent": "10 min", "spread": 1.0}, "faults": {"every": "3 h"}}


def test_what_was_lost_is_counted_again_from_the_rows():
    setup = small_setup(scenario=scenario(**BUSY))
    played = play(setup)
    again = refold(played.frame(), 6, 3, setup.info.tier).iloc[-1]
    for name in ("energy_joules", "bytes_up", "bytes_down", "egress_bytes", "link_bytes", "local_steps"):
        assert again[name] == getattr(played.metrics[-1], name)
    assert sum(event.value for event in played.of("lost") if event.name == "upload") == \
        pytest.approx(played.outcome.totals["lost_bytes_up"])


@pytest.mark.parametrize(("name", "parameters"), [
    ("full-sync", {}), ("ace-sync", {}),
    ("ace-sync", {"personal": ["x.0", "x.4"], "clusters": 2, "recluster_every": 3})])
def test_runs_with_churn_repeat_whatever_the_chunk(name, parameters):
    found = scenario(**BUSY)
    one, again, other = (play(small_setup(name, parameters, scenario=found, chunk=chunk)) for chunk in (8, 8, 3))
    assert one.outcome.training_digest == again.outcome.training_digest == other.outcome.training_digest
    assert one.timeline() == again.timeline() == other.timeline()
    assert one.of("lost")


def test_all_policies_meet_the_same_comings_and_goings():
    def changes(name):
        played = play(small_setup(name, scenario=scenario(**BUSY)))
        return [(event.kind, event.who, event.start_s) for kind in ("join", "leave", "crash")
                for event in played.of(kind) if event.start_s < 5000]
    assert changes("full-sync") == changes("fedavg") != []


def test_slow_phases_reach_the_clock():
    slow = {"compute": {"slow_phases": {"factor": 3, "every": "1 min", "last": "10 min"}, "jitter": 0}}
    plain, heated = (play(small_setup(scenario=found)) for found in (scenario(compute={"jitter": 0}), scenario(**slow)))
    spans_s = {round(event.end_s - event.start_s, 6) for event in heated.of("compute") if event.who >= 2}
    usual = next(event.end_s - event.start_s for event in plain.of("compute") if event.who >= 2)
    assert max(spans_s) == pytest.approx(3 * usual)
    assert heated.outcome.training_digest == plain.outcome.training_digest


def test_a_scenario_may_set_a_timeout():
    given = small_scenario().model_dump() | {"servers": {"timeout": "9 min"}}
    assert small_setup(scenario=Scenario.model_validate(given)).timeout_s == 540.0
    assert small_setup().timeout_s is None
