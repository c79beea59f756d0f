"""Runs over TCP: the same learning, later."""

from dataclasses import replace

import numpy as np
import pytest
from tests_support import hand_setup, play, small_setup

from acesim.aggregators import Outer
from acesim.compressors import Dense
from acesim.learning.local import GradientStep, LocalSteps
from acesim.learning.optimizers import SGD, LearningRate
from acesim.network.tcp import Tcp
from acesim.schedules import Fixed
from acesim.seam import Chunk, TreePolicy

BARE = Tcp(mss_bytes=100, header_bytes=0, initial_window=10, queue_packets=1000)


def policy(uplink=None):
    return TreePolicy(GradientStep(), uplink or Dense(), Outer(SGD(), LearningRate("constant", 0.5)), Dense(), Fixed())


def world():
    return hand_setup(policy(), up=[500, 125], down=[1000, 250], step_s=[2, 1], latency_s=[0.25, 0.5], rounds=2)


def test_a_round_over_tcp_waits_for_every_connection():
    """500 bytes fit the first window: each message takes a round trip more, .5 s for worker 0, 1 s for worker 1."""
    fluid, played = play(world()), play(replace(world(), tcp=BARE))
    late = {0: 0.5, 1: 1.0}
    for kind, times in (("download", 1), ("upload", 2)):
        pairs = zip(fluid.of(kind)[:2], played.of(kind)[:2], strict=True)
        assert all(over.end_s == pytest.approx(flat.end_s + times * late[flat.who]) for flat, over in pairs)
    np.testing.assert_array_equal(played.outcome.model, fluid.outcome.model)
    assert played.outcome.totals["bytes_up"] == fluid.outcome.totals["bytes_up"]


@pytest.mark.parametrize(("up", "later_s"), [(500, 0.25), (50, 0.5)])
def test_the_parts_of_a_message_are_one_connection(up, later_s):
    """The download is a set-up, .25 s, later.  Of the upload one half is ready a second before the other: a fast line
    sets up while it waits for that, a slow one is busy all the time."""
    halves = Dense("fp32", chunks=(Chunk(0.5, 0.5), Chunk(0.5, 1.0)))
    setup = hand_setup(policy(halves), up=[up], down=[500], step_s=[3], latency_s=0.125, rounds=1)
    (fluid,), (tcp,) = play(setup).of("upload"), play(replace(setup, tcp=BARE)).of("upload")
    assert tcp.start_s == pytest.approx(fluid.start_s + 0.25)
    assert tcp.end_s == pytest.approx(fluid.end_s + later_s)


@pytest.mark.parametrize("policy", ["full-sync", "ace-sync"])
def test_a_small_study_over_tcp(policy):
    """The ledger balances, and every round takes longer, if only for the headers."""
    setup = small_setup(policy)
    fluid, played = play(setup), play(replace(setup, tcp=Tcp(loss=0.001)))
    assert played.metrics[-1].time_s > fluid.metrics[-1].time_s
    assert played.outcome.rounds == fluid.outcome.rounds


@pytest.mark.parametrize("latency_s", [0.0, [0.25, 0.5]])
def test_jitter_moves_arrivals_but_never_before_the_transfer_has_ended(latency_s):
    """Rates are constant and workers have links of their own, so a message of 500 bytes takes 500 / rate and then its
    latency; the first messages of a run find the network as it would be without jitter."""
    plain, late = (play(hand_setup(policy(), up=[500, 125], down=[1000, 250], step_s=[2, 1], latency_s=latency_s,
                                   rounds=2, jitter=jitter)) for jitter in (0.0, 0.5))
    assert all(event.end_s - event.start_s >= 500 / {0: 1000, 1: 250}[event.who] for event in late.of("download"))
    assert all(event.end_s - event.start_s >= 500 / {0: 500, 1: 125}[event.who] for event in late.of("upload"))
    moved = [one.end_s != other.end_s for one, other in zip(plain.of("download"), late.of("download"), strict=True)]
    assert any(moved) == bool(np.any(latency_s))
    np.testing.assert_array_equal(plain.outcome.model, late.outcome.model)


def test_all_policies_meet_the_same_jitter():
    """What a download takes is its transfer and the draw of its number, whatever the policy makes of it."""
    def downloads_s(local, steps):
        policy = TreePolicy(local, Dense(), Outer(SGD(), LearningRate("constant", 0.5)), Dense(),
                            Fixed(local_steps=steps))
        world = hand_setup(policy, up=[500], down=[1000], step_s=[2], latency_s=0.25, rounds=8, jitter=0.5)
        return [event.end_s - event.start_s for event in play(world).of("download")][:4]
    several = LocalSteps(SGD(), LearningRate("constant", 0.5))
    np.testing.assert_allclose(downloads_s(GradientStep(), 1), downloads_s(several, 2), rtol=1e-9)


def test_rounds_in_one_go_jitter_as_the_events_do():
    """The same draws for the same messages, so the same rows to the bit."""
    setup = hand_setup(policy(), up=[500, 125], down=[1000, 250], step_s=[2, 1], latency_s=[0.25, 0.5], rounds=4,
                       jitter=0.5)
    one_go, one_by_one = play(setup), play(replace(setup, one_by_one=True))
    assert [event[:6] for event in one_go.events] == [event[:6] for event in one_by_one.events]
    assert len({event.end_s - event.start_s for event in one_go.of("upload")}) == 8


def test_what_is_sent_again_is_counted_apart():
    """A message of 500 bytes at a loss of 20 % is followed by 125 bytes that are sent again, and takes a line that is
    a fifth narrower; nothing that a message counts changes."""
    plain, lossy = (play(replace(world(), tcp=replace(BARE, loss=loss, congestion="bbr"))) for loss in (0.0, 0.2))
    assert {event.retransmitted_bytes for event in lossy.of("upload") + lossy.of("download")} == {125}
    assert {event.retransmitted_bytes for event in plain.events} == {0}
    assert lossy.metrics[-1].retransmitted_bytes == 8 * 125 == lossy.outcome.totals["retransmitted_bytes"]
    for name in ("bytes_up", "bytes_down", "link_bytes"):
        assert lossy.outcome.totals[name] == plain.outcome.totals[name]
    first, second = (played.of("upload")[0] for played in (plain, lossy))
    assert second.end_s - second.start_s > first.end_s - first.start_s
