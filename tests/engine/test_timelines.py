"""Whole timelines against numbers reckoned by hand: constant links, no jitter, messages of 4 x 100 + 100 bytes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from tests_support import hand_device, hand_setup, play

from acesim.aggregators import Outer
from acesim.compressors import Dense, ErrorFeedback, TopK
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.scenario import Stop
from acesim.scenario.errors import PolicyError
from acesim.schedules import Fixed
from acesim.seam import Chunk, TreePolicy

HALF = Outer(SGD(), LearningRate("constant", 0.5))
SECOND = hand_device(2800.0)  # a server's step costs 28 bytes an entry: one second for 100 entries
HALF_SECOND = hand_device(5600.0)


def policy(schedule=None, uplink=None, tree="star", local=None):
    return TreePolicy(local or GradientStep(), uplink or Dense(), HALF, Dense(), schedule or Fixed(), tree)


def test_barrier():
    """Worker 0: down 500/1000 + .25, computes 2, up 500/500 + .25 -> 4.
    Worker 1: down 500/250 + .5, computes 1, up 500/125 + .5 -> 8.  The server steps from 8 to 9."""
    played = play(hand_setup(policy(), up=[500, 125], down=[1000, 250], step_s=[2, 1], latency_s=[0.25, 0.5],
                             cloud_device=SECOND, rounds=2))
    assert played.timeline() == [
        ("figure", 3, 0, 0), ("evaluate", 3, 0, 0), ("plan", 3, 0, 0),
        ("download", 0, 0, 0.75), ("download", 1, 0, 2.5), ("compute", 0, 0.75, 2.75), ("compute", 1, 2.5, 3.5),
        ("upload", 0, 2.75, 4), ("upload", 1, 3.5, 8), ("aggregate", 3, 8, 9),
        ("plan", 3, 9, 9),
        ("download", 0, 9, 9.75), ("download", 1, 9, 11.5), ("compute", 0, 9.75, 11.75), ("compute", 1, 11.5, 12.5),
        ("upload", 0, 11.75, 13), ("upload", 1, 12.5, 17), ("aggregate", 3, 17, 18),
        ("figure", 3, 18, 18), ("evaluate", 3, 18, 18)]
    assert played.metrics[-1].time_s == 18  # when the model that is scored is there
    assert [event.wait_s for event in played.of("compute")][2:] == [9.75 - 2.75, 11.5 - 3.5]
    assert played.outcome.rounds == 2
    assert played.outcome.ideal_s == 4.0  # two rounds of the slowest computation


def test_what_the_barrier_learns():
    """x0 - x1 = .5 mean(x0 - c): with centres 0 and 8 the server goes half the way to 4 in every round."""
    setup = hand_setup(policy(), up=[500, 125], down=[1000, 250], step_s=[2, 1], centres=[0, 8], rounds=3)
    start = setup.task.initial(0)
    np.testing.assert_allclose(play(setup).outcome.model, 4 + (start - 4) / 8, rtol=1e-6)


def run_to(seconds, schedule, uplink=None, **world):
    """The quorum tests' world: A comes back after 3 s, B after 6.25 s, the server steps for half a second."""
    facts = {"up": [500, 250], "down": [500, 250], "step_s": [1, 2.25], "cloud_device": HALF_SECOND, "rounds": 100}
    return hand_setup(policy(schedule, uplink), stop=Stop(epochs=1, simulated_time_s=seconds), **(facts | world))


def test_quorum_of_a_half_applies_what_is_late():
    """A: down 1, compute 1, up 1.  B: down 2, compute 2.25, up 2 -> 6.25.  One of two answers closes a round.
    B's, from model 0, closes round 1 with staleness 1; A's comes at 6.5 while the server steps (6.25 - 6.75), so it
    closes round 2 as soon as that is opened, at 6.75."""
    played = play(run_to(6.8, Fixed(quorum=0.5)))
    rows = [row for row in played.timeline() if row[0] not in ("figure", "evaluate")]
    assert rows == [
        ("plan", 3, 0, 0), ("download", 0, 0, 1), ("compute", 0, 1, 2), ("download", 1, 0, 2),
        ("upload", 0, 2, 3), ("aggregate", 3, 3, 3.5),
        ("plan", 3, 3.5, 3.5), ("compute", 1, 2, 4.25), ("download", 0, 3.5, 4.5), ("compute", 0, 4.5, 5.5),
        ("upload", 1, 4.25, 6.25), ("aggregate", 3, 6.25, 6.75),
        ("upload", 0, 5.5, 6.5), ("plan", 3, 6.75, 6.75), ("aggregate", 3, 6.75, 7.25)]
    uploads = [(event.who, event.round, event.staleness) for event in played.of("upload")]
    assert uploads == [(0, 0, 0), (1, 0, 1), (0, 1, 1)]


def test_quorum_of_a_half_learns_from_what_is_late():
    """Gradients x - 0 (A) and x - 8 (B), steps of a half: x1 = x0/2; x2 = x1 - (x0 - 8)/2 = 4; x3 = 4 - x1/2."""
    setup = run_to(6.8, Fixed(quorum=0.5), centres=[0, 8])
    start = setup.task.initial(0)
    np.testing.assert_allclose(play(setup).outcome.model, 4 - start / 4, rtol=1e-6)


def test_what_is_cancelled_takes_the_way_but_is_not_used():
    """As above, but B's answer of round 0 is dropped at 6.25; A's of round 1 closes it at 6.5, alone."""
    setup = run_to(6.4, Fixed(quorum=0.5, late="cancel"), centres=[0, 8])
    played = play(setup)
    rows = [row for row in played.timeline() if row[0] in ("upload", "aggregate", "plan")]
    assert rows == [("plan", 3, 0, 0), ("upload", 0, 2, 3), ("aggregate", 3, 3, 3.5), ("plan", 3, 3.5, 3.5),
                    ("upload", 1, 4.25, 6.25), ("upload", 0, 5.5, 6.5), ("aggregate", 3, 6.5, 7)]
    np.testing.assert_allclose(played.outcome.model, setup.task.initial(0) / 4, rtol=1e-6)


def test_late_is_what_comes_after_the_close_even_before_the_next_round_opens():
    """B answers at 3.25, while the server steps (3 - 3.5): its round was closed at 3, so it is cancelled."""
    setup = run_to(6, Fixed(quorum=0.5, late="cancel"), up=[500, 500], down=[500, 500], step_s=[1, 1.25],
                   centres=[0, 8])
    played = play(setup)
    assert played.timeline("upload", "aggregate") == [
        ("upload", 0, 2, 3), ("aggregate", 3, 3, 3.5), ("upload", 1, 2.25, 3.25),
        ("upload", 0, 5.5, 6.5), ("aggregate", 3, 6.5, 7)]
    np.testing.assert_allclose(played.outcome.model, setup.task.initial(0) / 4, rtol=1e-6)


@dataclass(frozen=True)
class Noting(ErrorFeedback):
    """Error feedback that writes down what it was given, what it sent, and what was left before and after."""

    notes: Any = None

    def encode(self, vector, level, rng, state):
        payload, after = super().encode(vector, level, rng, state)
        self.notes.append((vector, self.decode(payload.body, vector.size), after.residual, state.residual))
        return payload, after


def test_what_goes_to_the_residual_is_not_lost():
    """B's first answer is late and given back; its second carries the first's mass as well, so that in the end
    gradients = what was sent and used + residual."""
    notes = []
    uplink = Noting(TopK(0.5), notes=notes)
    setup = run_to(13.5, Fixed(quorum=0.5, late="to_residual"), uplink, centres=[0, 8])
    played = play(setup)
    senders = [event.who for event in played.of("compute")]
    of_b = [note for sender, note in zip(senders, notes, strict=True) if sender == 1]
    (gradient, sent, left, _), (_, _, _, before) = of_b[:2]
    np.testing.assert_allclose(left + sent, gradient, rtol=1e-6)
    np.testing.assert_allclose(before, gradient, rtol=1e-6)  # the payload has come back to what it left behind


def test_late_to_residual_wants_a_residual():
    with pytest.raises(PolicyError, match='late = "to_residual": the uplink keeps no residual; wrap it in ErrorFeed'):
        play(run_to(13.5, Fixed(quorum=0.5, late="to_residual")))


def test_an_asynchronous_server_answers_every_arrival():
    """A every 3.5 s, B every 6.75 s: arrivals at 3 (A), 6.25 (B), 6.5 (A), 10.25 (A; asked at 7.25), ...
    The server answers A's second while it is still busy with B's: 6.75 to 7.25."""
    played = play(run_to(10, Fixed(quorum=0.0)))
    uploads = [(event.who, event.start_s, event.end_s, event.staleness) for event in played.of("upload")]
    assert uploads[:4] == [(0, 2, 3, 0), (1, 4.25, 6.25, 1), (0, 5.5, 6.5, 1), (0, 9.25, 10.25, 0)]
    assert played.timeline("aggregate")[:4] == [
        ("aggregate", 3, 3, 3.5), ("aggregate", 3, 6.25, 6.75), ("aggregate", 3, 6.75, 7.25),
        ("aggregate", 3, 10.25, 10.75)]


def test_regions():
    """Regions {0, 1} and {2}.  Cloud -> region 0: 500/500 + .5 = 1.5; -> worker 0: 500/1000 = 2; computes 1 -> 3;
    -> region: 500/500 = 4.  Worker 1: 1.5 + 500/500 = 2.5, computes 2 -> 4.5, 500/250 -> 6.5.  Region 0 answers at 6.5:
    500/125 + .5 = 11.  Region 1: 500/250 + .5 = 2.5; worker 2: 500/500 -> 3.5, computes 1 -> 4.5, 500/500 -> 5.5;
    up 500/500 + .5 = 7.  The cloud (row 5) steps 11 - 12."""
    played = play(hand_setup(policy(tree="regions"), up=[500, 250, 500], down=[1000, 500, 500], step_s=[1, 2, 1],
                             region_of=[0, 0, 1], region_up=[125, 500], region_down=[500, 250], region_latency_s=0.5,
                             cloud_device=SECOND, rounds=1))
    assert played.timeline("plan", "download", "compute", "upload", "aggregate") == [
        ("plan", 5, 0, 0), ("download", 3, 0, 1.5), ("download", 0, 1.5, 2), ("download", 4, 0, 2.5),
        ("download", 1, 1.5, 2.5), ("compute", 0, 2, 3), ("download", 2, 2.5, 3.5), ("upload", 0, 3, 4),
        ("compute", 1, 2.5, 4.5), ("compute", 2, 3.5, 4.5), ("upload", 2, 4.5, 5.5), ("aggregate", 4, 5.5, 5.5),
        ("upload", 1, 4.5, 6.5), ("aggregate", 3, 6.5, 6.5), ("upload", 4, 5.5, 7), ("upload", 3, 6.5, 11),
        ("aggregate", 5, 11, 12)]
    assert [(event.who, event.peer) for event in played.of("upload")] == [(0, 3), (2, 4), (1, 3), (4, 5), (3, 5)]
    totals = played.outcome.totals
    assert (totals["bytes_up"], totals["region_bytes_up"], totals["bytes_down"], totals["region_bytes_down"]) == \
        (1500, 1000, 1500, 1000)


def test_regions_weigh_their_workers():
    """Region means 0 (of two workers) and 12 (of one) weigh 2 : 1, so the optimum is 4 as in a star."""
    setup = hand_setup(policy(tree="regions"), up=[500] * 3, down=[500] * 3, step_s=[1] * 3, region_of=[0, 0, 1],
                       region_up=[500] * 2, region_down=[500] * 2, centres=[-3, 3, 12], rounds=1)
    start = setup.task.initial(0)
    np.testing.assert_allclose(play(setup).outcome.model, 4 + (start - 4) / 2, rtol=1e-5)


TWO = (Chunk(0.5, 0.5), Chunk(0.5, 1.0))  # halves; the backward pass takes 2 of the 3 seconds of a step


def upload_of(up, chunks=TWO, worker_device=None, dtype="fp32", startup_s=0.0):
    """Return when the upload of 400 (or 200) bytes, and 100 of header a chunk, began and ended."""
    setup = hand_setup(policy(uplink=Dense(dtype, chunks=chunks)), up=[up], down=[500], step_s=[3], latency_s=0.125,
                       worker_device=worker_device, rounds=1)
    setup = replace(setup, topology=replace(setup.topology, message_startup_s=startup_s))
    played = play(setup)
    (compute,), (upload,) = played.of("compute"), played.of("upload")
    assert (compute.start_s, compute.end_s) == pytest.approx((1.125 + startup_s, 4.125 + startup_s))
    assert upload.message_bytes == (400 if dtype == "fp32" else 200) + 100 * max(1, len(chunks))
    return upload.start_s, upload.end_s


def test_overlap_bound_by_computing():
    """The first half leaves at 3.125 and needs 300/500; the second leaves when it is ready, at 4.125."""
    assert upload_of(500) == pytest.approx((3.125, 4.125 + 300 / 500 + 0.125))


def test_overlap_bound_by_the_network():
    """The first half leaves at 3.125 and needs 6 s; the second follows at once: first ready + all bytes / rate."""
    assert upload_of(50) == pytest.approx((3.125, 3.125 + 600 / 50 + 0.125))


QUARTERS = tuple(Chunk(0.25, ready) for ready in (0.25, 0.5, 0.75, 1.0))


def test_what_is_ready_when_the_line_falls_free_leaves_as_one():
    """Quarters of 200 bytes at 2.625, 3.125, 3.625, 4.125: at 200 bytes/s the first has left at 3.625, then two leave
    at once, then the last."""
    assert upload_of(200, QUARTERS) == pytest.approx((2.625, 2.625 + 4 + 0.125))
    assert upload_of(1000, QUARTERS) == pytest.approx((2.625, 4.125 + 0.2 + 0.125))


def test_every_chunk_is_started_up():
    """Half a second each, and half a second before the download.  The quarters at 3.125, 3.625, 4.125 and 4.625 take
    .5 + .2: 3.825; 4.525; 5.225; 5.925.  Two are never ready at once, so they leave one by one."""
    assert upload_of(1000, QUARTERS, startup_s=0.5) == pytest.approx((3.125, 5.925 + 0.125))


def test_what_leaves_as_one_is_started_up_for_each():
    """At 200 bytes/s: .5 + 1 -> 4.625, when all the others are ready: 3 x .5 + 3 x 1 -> 9.125."""
    assert upload_of(200, QUARTERS, startup_s=0.5) == pytest.approx((3.125, 9.125 + 0.125))


def test_a_message_is_started_up_once():
    assert upload_of(500, (), startup_s=0.5) == pytest.approx((4.625, 4.625 + 0.5 + 1 + 0.125))
    assert upload_of(500, (), startup_s=0.5) == upload_of(500, (Chunk(1.0, 1.0),), startup_s=0.5)


def test_no_chunks_no_overlap():
    assert upload_of(500, (Chunk(1.0, 1.0),)) == upload_of(500, ()) == pytest.approx((4.125, 5.125 + 0.125))


def test_encoding_is_charged_and_holds_up_the_backward_pass():
    """bf16: 6 bytes of work an entry, 600 in all, on a device of 1200 bytes/s: .25 s a half; halves of 200 bytes.
    The first half is encoded 3.125 - 3.375 and sent by 4.375; the pass ends at 4.375, the second half is encoded by
    4.625 and sent by 5.625."""
    assert upload_of(200, TWO, hand_device(1200.0), "bf16") == pytest.approx((3.375, 5.625 + 0.125))


def test_chunks_may_be_lighter_to_encode_than_to_send():
    """A fifth of the entries: encoded 3.125 - 3.225, sent by 4.225; the rest is encoded by 4.625."""
    light = (Chunk(0.5, 0.5, 0.2), Chunk(0.5, 1.0, 0.8))
    assert upload_of(200, light, hand_device(1200.0), "bf16") == pytest.approx((3.225, 5.625 + 0.125))


def test_every_chunk_is_a_launch():
    """A tenth of a second each for encoding (bf16: one launch), and as much for the server's decoding of each half."""
    slow = replace(hand_device(1200.0), launch_s=0.1)
    assert upload_of(200, TWO, slow, "bf16") == pytest.approx((3.475, 5.825 + 0.125))


def test_alone_nothing_is_sent():
    """Two workers go on from their own models; a round ends with the slower."""
    local = LocalSteps(SGD(), LearningRate("constant", 0.5))
    setup = hand_setup(policy(Fixed(local_steps=2, sync_parent=False), local=local), up=[500] * 2, down=[500] * 2,
                       step_s=[1, 2], centres=[0, 8], rounds=4)
    played = play(setup)
    assert played.timeline("plan", "compute", "upload", "download", "aggregate") == [
        ("plan", 3, 0, 0), ("compute", 0, 0, 2), ("compute", 1, 0, 4),
        ("plan", 3, 4, 4), ("compute", 0, 4, 6), ("compute", 1, 4, 8)]
    assert played.outcome.totals["link_bytes"] == 0
    start = setup.task.initial(0).astype(float)
    excess = [2 * np.mean(((start - centre) / 16 + centre - 4) ** 2) for centre in (0, 8)]  # 1/2 sum over 4 entries
    assert played.metrics[-1].loss_nats == pytest.approx(np.mean(excess), rel=1e-5)


def test_sampled_workers_are_asked_when_they_are_drawn():
    """Half of four workers a round: two downloads, two computations, two uploads, whoever they are."""
    played = play(hand_setup(policy(Fixed(fraction=0.5)), up=[500] * 4, down=[500] * 4, step_s=[1] * 4, rounds=3,
                             steps_per_epoch=3))
    rounds = {}
    for event in played.events:
        if event.kind in ("download", "compute", "upload"):
            rounds.setdefault(event.round, {}).setdefault(event.kind, []).append(event.who)
    assert len(rounds) == 6  # half of the workers: twice the rounds for as many local steps
    for kinds in rounds.values():
        assert sorted(kinds["download"]) == sorted(kinds["compute"]) == sorted(kinds["upload"])
        assert len(kinds["upload"]) == 2
    assert played.outcome.totals["local_steps"] == 12
