"""TCP: windows by hand, textbook throughputs, laws that tie it to the fluid, reference answers."""

import json
import math
import pickle
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acesim.network.flows import Flows
from acesim.network.tcp import Growth, Line, Tcp, tcp_of
from acesim.network.tcp_card import FAR, NS3_CASES, document, kind_of, predicted_s, rows, summary
from acesim.network.tcp_flows import BRIEF, TcpFlows
from acesim.network.tcp_reference import LINUX, NS3, ns3_cases
from acesim.network.traces import Least, Trace, constant
from acesim.scenario.errors import TraceError
from acesim.scenario.schema import NetworkSpec

REFERENCE = Path(__file__).resolve().parents[2].parent / "shared" / "validation" / "tcp"
BARE = Tcp(mss_bytes=1000, header_bytes=0, queue_packets=1000)
MODELS = [BARE, Tcp(), Tcp(congestion="bbr"), Tcp(congestion="reno", queue_packets=5), Tcp(queue_packets=20),
          Tcp(loss=0.01), Tcp(window_bytes=20_000), Tcp(congestion="reno", loss=0.05, setup_rtts=2)]


def play(flows, starts, rtt_s=0.0):
    """Start (time, key, nbytes, route) in order of time, run to the end, return {key: finish}."""
    finish, waiting = {}, sorted(starts)
    while waiting or len(flows):
        due_s = flows.next_finish()
        if waiting and waiting[0][0] <= due_s:
            time_s, key, nbytes, route = waiting.pop(0)
            flows.start(key, nbytes, route, time_s, rtt_s=rtt_s)
        else:
            finish |= dict.fromkeys(flows.advance(due_s), due_s)
    return finish


def alone(tcp, nbytes, rate, rtt_s):
    return play(TcpFlows([constant(rate)], tcp), [(0.0, 0, nbytes, (0,))], rtt_s)[0]


# -------------------------------------------------------------------------------------------- by hand


def test_slow_start_by_hand():
    """1 MB/s, 100 ms: 100 packets fill it.  Rounds of 10, 20, 40, 80 packets, then a full line."""
    assert alone(BARE, 10e3, 1e6, 0.1) == pytest.approx(0.1 + 0.01)  # within the first window
    assert alone(BARE, 11e3, 1e6, 0.1) == pytest.approx(0.2 + 0.001)
    assert alone(BARE, 150e3, 1e6, 0.1) == pytest.approx(0.4 + 0.08)
    assert alone(BARE, 650e3, 1e6, 0.1) == pytest.approx(0.5 + 0.5)


def test_a_closed_window_is_a_rate():
    tcp = Tcp(1000, 0, window_bytes=40_000, queue_packets=1000)
    assert alone(tcp, 10e6, 1e6, 0.1) == pytest.approx(0.3 + (10e6 - 70e3) / 400e3, rel=0.01)


def test_headers_take_their_share():
    assert alone(Tcp(), 1448e6, 1e6, 0.01) == pytest.approx(1500, rel=1e-4)


def test_bbr_spreads_a_window_over_its_round():
    tcp = Tcp(1000, 0, queue_packets=1000, congestion="bbr")
    assert alone(tcp, 10e3, 1e6, 0.1) == pytest.approx(0.1 + 0.1)
    assert alone(tcp, 20e3, 1e6, 0.1) == pytest.approx(0.1 + 0.1 + 0.05)


def test_the_end_of_a_transfer_is_lost_with_the_overshoot():
    """Queue of 100 packets: after 150, a full round from .5 s; the window, 160, is 200 at .54 s.  What is left then,
    50 of 440 packets, leaves in .025 s, and its end is probed for after two round trips of .2 s."""
    tcp = Tcp(1000, 0, queue_packets=100)
    assert alone(tcp, 440e3, 1e6, 0.1) == pytest.approx(0.54 + 0.025 + 0.4)
    assert alone(tcp, 380e3, 1e6, 0.1) == pytest.approx(0.5 + 0.23)  # all had left before
    assert alone(tcp, 900e3, 1e6, 0.1) == pytest.approx(0.5 + 0.75)  # enough was left for the loss to be noticed


def test_a_shallow_queue_cuts_slow_start_short():
    """Half of 40 packets has to wait, and the queue holds 10: the window was 40 + 20, and is 30 with reno."""
    line = Line(Tcp(1000, 0, queue_packets=10, congestion="reno"), 1e6, 0.1)
    assert [line.bursts_fit(window, 1.0) for window in (20e3, 40e3)] == [True, False]
    stages = line.burst(40e3, 1.0).stages
    assert sum(stage.span_s for stage in stages) == pytest.approx(70 * 0.1)  # a packet a round trip, from 30 to 100
    assert sum(stage.span_s * stage.most_bytes_per_s for stage in stages) == pytest.approx(7.0 * 650e3, rel=1e-6)
    # 30 packets in three rounds and the set-up, 40 in the round that was lost, then 455 in each tenth of 7 s
    assert alone(line.tcp, 70e3 + 4.55e6, 1e6, 0.1) == pytest.approx(0.4 + 7.0, rel=1e-3)


def together(tcp, starts, rate=1e6, rtt_s=0.1):
    """Let (time, nbytes) come over one link; return how long each takes."""
    finish = play(TcpFlows([constant(rate)], tcp), [(at_s, key, nbytes, (0,))
                                                    for key, (at_s, nbytes) in enumerate(starts)], rtt_s)
    return [finish[key] - at_s for key, (at_s, _) in enumerate(starts)]


def test_who_comes_to_a_full_queue_leaves_slow_start_with_what_is_left_of_it():
    """1 MB/s, 100 ms, a queue of 100 packets that somebody keeps full: a round trip takes .2 s, and reno's windows
    leave a quarter of 200 packets free.  Rounds of 10, 20, 40 and 80 packets after the set-up; then the window rises
    from half of 100 packets, one a round trip: (50 + 5 t) / .2 kB/s, of which 700 kB take 2.5 s."""
    tcp = Tcp(1000, 0, queue_packets=100, congestion="reno")
    line = Line(tcp, 1e6, 0.1)
    assert (line.room_bytes, line.late.start_bytes) == (pytest.approx(50e3), pytest.approx(50e3))
    assert sum(stage.span_s for stage in line.late.stages) == pytest.approx(150 * 0.2)
    assert Line(Tcp(queue_packets=100), 1e6, 0.1).room_bytes == pytest.approx(0.3 / 4 * (1e5 + 100 * 1448))
    late_s = together(tcp, [(0.0, 50e6), (10.0, 850e3)])[1]
    assert late_s == pytest.approx(0.1 + 0.3 + 0.2 + 2.47, rel=0.02)
    assert together(tcp, [(0.0, 50e6), (10.0, 70e3)])[1] == pytest.approx(0.1 + 0.2 + 0.08)  # all within the room


def test_nobody_is_late_where_nobody_keeps_a_queue_full():
    late = (20.0, 1e6)
    closed, paced, plain = Tcp(1000, 0, window_bytes=50e3), Tcp(1000, 0, congestion="bbr"), Tcp(1000, 0)
    alone_s = {tcp: together(tcp, [late])[0] for tcp in (closed, paced, plain)}
    assert together(closed, [(0.0, 50e6), late])[1] == pytest.approx(alone_s[closed])  # both fill the route, no queue
    assert together(paced, [(0.0, 50e6), late])[1] < 2 * alone_s[paced]
    assert together(plain, [(0.0, 10e6), late])[1] == pytest.approx(alone_s[plain])  # the other is through
    flows = TcpFlows([constant(1e6)], plain)
    flows.start(0, 50e6, (0,), 0.0, rtt_s=0.1)
    while (due_s := flows.next_finish()) < 20:
        flows.advance(due_s)
    flows.cancel(0, 20.0)
    assert play(flows, [(20.0, 1, 1e6, (0,))], 0.1)[1] - 20 == pytest.approx(alone_s[plain])


@pytest.mark.parametrize("tcp", [Tcp(), Tcp(congestion="reno"), Tcp(congestion="bbr"), Tcp(loss=1e-3)], ids=str)
@pytest.mark.parametrize("dip", [0.0, 1e5])
def test_who_was_stopped_in_slow_start_goes_on_where_it_was(tcp, dip):
    """A round that lasted because the route stood still, or all but did, says nothing of the window."""
    steps = np.full(200, 12.5e6)
    for nbytes in (2e6, 5e6, 2e7):
        open_s = play(TcpFlows([Trace(0.1, steps, end="hold")], tcp), [(0.0, 0, nbytes, (0,))], 0.6)[0]
        for first in (5, 10, 12, 16, 22):
            stopped = np.where((np.arange(200) >= first) & (np.arange(200) < first + 10), dip, steps)
            took_s = play(TcpFlows([Trace(0.1, stopped, end="hold")], tcp), [(0.0, 0, nbytes, (0,))], 0.6)[0]
            assert took_s >= open_s * (1 - 1e-9), (nbytes, first)


def test_growth_is_what_the_standards_say():
    cubic, reno = Growth(Tcp(), 1000.0, 1.0), Growth(Tcp(congestion="reno"), 1000.0, 1.0)
    assert (cubic.packets(0.0), reno.packets(0.0)) == (pytest.approx(700.0), 500.0)
    back_s = math.cbrt(1000 * 0.3 / 0.4)
    assert (cubic.packets(back_s), cubic.reached_s(1000.0)) == (pytest.approx(1000.0), pytest.approx(back_s))
    assert reno.reached_s(600.0) == 100.0


@pytest.mark.parametrize("loss", [1e-4, 1e-3, 1e-2])
def test_loss_limits_reno_to_the_square_root_law(loss):
    """Mathis et al. 1997: sqrt(3 / 2) / sqrt(p) packets a round trip; timeouts take more as losses come often."""
    line = Line(Tcp(congestion="reno", loss=loss), 1e9, 0.1)
    packets = line.steady.most_bytes_per_s * 0.1 / 1448
    assert (0.75 if loss > 1e-3 else 0.97) < packets * math.sqrt(loss / 1.5) <= 1
    assert Line(Tcp(loss=loss), 1e9, 0.1).steady.most_bytes_per_s >= line.steady.most_bytes_per_s
    assert Line(Tcp(congestion="bbr", loss=loss), 1e9, 0.1).steady.most_bytes_per_s == math.inf


def test_a_shallow_queue_wastes_what_the_sawtooth_leaves():
    assert Line(Tcp(congestion="reno", queue_packets=0), 1e6, 0.1).used_share == pytest.approx(0.75, abs=1e-3)
    shares = [Line(Tcp(queue_packets=packets), 1e7, 0.1).used_share for packets in (0, 50, 200, 300)]
    assert shares == sorted(shares)
    assert 0.85 < shares[0] < 0.95 < shares[-1] == 1.0


# -------------------------------------------------------------------------------------------- how it is used


def test_round_trips_share_a_link():
    """At windows alike, rates go with 1 / RTT; with weights of their own they are equal."""
    for own, ratio in ((True, 4.0), (False, 1.0)):
        flows = TcpFlows([constant(1e6)], Tcp(queue_packets=0), rtt_weights=own)
        flows.start(0, 1e9, (0,), 0.0, rtt_s=0.01)
        flows.start(1, 1e9, (0,), 0.0, rtt_s=0.04)
        flows.advance(1.0)
        assert flows.rate(0) / flows.rate(1) == pytest.approx(ratio)


def test_a_connection_keeps_its_window_from_part_to_part():
    """The second part needs no set-up, and goes on with 40 packets after 10 and 20."""
    flows = TcpFlows([constant(1e6)], BARE)
    flows.start(0, 30e3, (0,), 0.0, rtt_s=0.1, more=True)
    assert [play_on(flows), play_on(flows)][-1] == pytest.approx(0.22)
    flows.start(0, 40e3, (0,), flows.clock_s, rtt_s=0.1)
    assert play_on(flows) == pytest.approx(0.26)
    assert not flows._idle


def play_on(flows):
    """Go to the next completion, or nowhere."""
    while (due_s := flows.next_finish()) < math.inf:
        if flows.advance(due_s):
            break
    return flows.clock_s


def test_cancel_remaining_and_rate_on_the_way():
    flows = TcpFlows([constant(1e6)], BARE)
    flows.start(0, 1e6, (0,), 0.0, rtt_s=0.1)
    assert (flows.rate(0), flows.remaining(0), len(flows)) == (0.0, 1e6, 1)
    flows.advance(0.105)
    assert (flows.rate(0), flows.remaining(0)) == (1e6, pytest.approx(1e6 - 5e3))
    flows.advance(0.15)
    assert (flows.rate(0), flows.remaining(0)) == (0.0, pytest.approx(1e6 - 10e3))
    flows.advance(0.205)
    assert flows.cancel(0, 0.205) == pytest.approx(15e3)
    assert flows.moved_bytes_per_link.tolist() == [pytest.approx(15e3)]
    assert (len(flows), flows.next_finish()) == (0, math.inf)


def test_a_start_at_the_moment_a_round_ends_loses_nothing():
    flows = TcpFlows([constant(1e6)], BARE)
    flows.start(0, 30e3, (0,), 0.0, rtt_s=0.125)
    while (due_s := flows.next_finish()) < 0.125 + 0.01:
        flows.advance(due_s)
    flows.start(1, 0.0, (0,), due_s)
    assert flows.clock_s == due_s
    assert play(flows, []) == {1: due_s, 0: pytest.approx(0.25 + 0.02)}


def test_misuse_is_refused():
    flows = TcpFlows([constant(1e6)], BARE)
    flows.start(0, 1e6, (0,), 1.0, rtt_s=0.1)
    with pytest.raises(ValueError, match="flow 0 is under way"):
        flows.start(0, 1.0, (0,), 1.0)
    for nbytes, rtt_s, time_s, rule in ((-1.0, 0.0, 1.0, "finite and >= 0"), (1.0, -1.0, 1.0, "round trip of -1"),
                                        (1.0, 0.0, 0.5, "never runs back"), (1.0, 0.0, 3.0, "advance first")):
        with pytest.raises(ValueError, match=rule):
            flows.start(1, nbytes, (0,), time_s, rtt_s=rtt_s)
    with pytest.raises(ValueError, match="none twice"):
        flows.start(1, 1.0, (3,), 1.0)
    finite = TcpFlows([Trace(1.0, np.array([1.0]), end="error", source="tram.csv")], BARE)
    finite.start(0, 10.0, (0,), 0.0, rtt_s=0.1)
    with pytest.raises(TraceError, match=r"tram\.csv: ends after 1 s"):
        finite.advance(5.0)


def test_a_scenario_says_how_bytes_move():
    assert tcp_of(NetworkSpec()) is None
    assert tcp_of(NetworkSpec(transport="tcp")) == Tcp()
    given = {"kind": "tcp", "window": "4 MB", "loss": "0.1 %", "congestion": "bbr", "mss": "8948 B"}
    assert tcp_of(NetworkSpec(transport=given)) == Tcp(mss_bytes=8948, window_bytes=4e6, loss=0.001, congestion="bbr")


# -------------------------------------------------------------------------------------------- laws

sizes = st.sampled_from([0.0, 1.0, 1e4, 3e5, 2e6, 4e7])


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(MODELS), sizes, st.sampled_from([1e5, 1e6, 2.5e7]), st.sampled_from([0.0, 1e-3, 0.03, 0.3]),
       st.booleans())
def test_alone_tcp_is_never_faster_than_the_fluid(tcp, nbytes, rate, rtt_s, varying):
    link = Trace(0.5, rate * np.array([1.0, 0.2, 1.7, 0.0])) if varying else constant(rate)
    starts = [(0.3, 0, nbytes, (0,))]
    fluid = play(Flows([link]), starts)[0]
    assert play(TcpFlows([link], tcp), starts, rtt_s)[0] >= fluid * (1 - 1e-12)
    assert play(TcpFlows([Least([link])], tcp), starts, rtt_s)[0] >= fluid * (1 - 1e-9)


GRID = [(rate, rtt_s, queue, nbytes) for rate in (6.25e5, 6.25e6, 1e8) for rtt_s in (0.01, 0.1, 0.3)
        for queue in (None, 20, 300) for nbytes in (3e4, 1e6, 3e7, 2e8)]


@pytest.mark.parametrize("congestion", ["cubic", "reno", "bbr"])
def test_more_bytes_take_longer_and_more_loss_not_less(congestion):
    """Losses are played at their mean distances, one by one, so that one more loss may come a round later and cost
    less: by a quarter at most.  Without any, transfers are never slower."""
    for rate, rtt_s, queue, nbytes in GRID:
        took_s = [alone(Tcp(congestion=congestion, queue_packets=queue, loss=loss), nbytes, rate, rtt_s)
                  for loss in (0.0, 1e-6, 3e-6, 1e-5, 1e-4, 1e-3, 1e-2)]
        assert all(more >= 0.75 * less for less, more in pairwise(took_s)), (rate, rtt_s, queue)
        assert min(took_s) >= took_s[0] * (1 - 1e-9)
        assert alone(Tcp(congestion=congestion, queue_packets=queue), 1.2 * nbytes, rate, rtt_s) >= took_s[0]


def test_random_losses_tear_the_window_one_by_one():
    """1 MB/s, 100 ms, loss 1 %: rounds of 10, 20 and 40 packets, then the 30 that are left until the 100th is lost.
    They go at once, so the window of 80 was not full: 56 are left of it; 100 more at 56 a round, then at 39, 27, ...
    until random loss has it where it is in the mean."""
    tcp, line = Tcp(1000, 0, queue_packets=1000, loss=0.01), 1e6 / 0.99
    mean_s = 1000 / Line(tcp, 1e6, 0.1).lossy_window_bytes * 0.1  # of a packet
    assert alone(tcp, 100e3, line, 0.1) == pytest.approx(0.4 + 0.03)
    assert alone(tcp, 200e3, line, 0.1) == pytest.approx(0.4 + 0.03 + 10 / 56, rel=1e-6)
    assert alone(tcp, 300e3, line, 0.1) == pytest.approx(0.43 + 10 / 56 + 10 / 39.2, rel=1e-6)
    long_s = alone(tcp, 100e6, line, 0.1)
    assert long_s == pytest.approx(100e3 * mean_s, rel=0.01)


@pytest.mark.parametrize("flows", [1, 3])
@pytest.mark.parametrize("congestion", ["cubic", "reno", "bbr"])
def test_long_transfers_with_ample_windows_are_fluid_but_for_headers(congestion, flows):
    tcp = Tcp(congestion=congestion)
    starts = [(0.0, key, 5e9, (0,)) for key in range(flows)]
    link = Trace(1.0, 1e6 * np.array([1.0, 3.0, 2.0]))
    fluid, finish = play(Flows([link]), starts), play(TcpFlows([link], tcp), starts, 0.05)
    for key, end_s in fluid.items():
        margin = 0.99 if tcp.paced and flows == 1 else 1.0  # one bbr paces below its link's rate, several fill it
        assert finish[key] * tcp.goodput * margin == pytest.approx(end_s, rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(MODELS), st.lists(st.tuples(st.sampled_from([0.0, 0.4, 2.0]), sizes), min_size=1, max_size=5),
       st.sampled_from([0.0, 0.02, 0.2]), st.floats(0.0, 5.0))
def test_bytes_are_conserved_and_a_pause_changes_nothing(tcp, drawn, rtt_s, pause_s):
    links = [Trace(1.0, np.array([2e6, 5e5])), constant(1.5e6)]
    starts = [(time_s, key, nbytes, ((0,), (0, 1), (1,))[key % 3]) for key, (time_s, nbytes) in enumerate(drawn)]
    whole = TcpFlows(links, tcp)
    expected = play(whole, starts, rtt_s)
    carried = np.zeros(2)
    for _, _, nbytes, route in starts:
        carried[list(route)] += nbytes
    assert whole.moved_bytes_per_link == pytest.approx(carried, rel=1e-9, abs=1e-3)
    halted, finish = TcpFlows(links, tcp), {}
    for time_s, key, nbytes, route in sorted(starts):
        while (due_s := halted.next_finish()) < time_s:
            finish |= dict.fromkeys(halted.advance(due_s), due_s)
        halted.start(key, nbytes, route, time_s, rtt_s=rtt_s)
    pause_s = max(pause_s, halted.clock_s)
    while (due_s := halted.next_finish()) <= pause_s:
        finish |= dict.fromkeys(halted.advance(due_s), due_s)
    halted.advance(pause_s)
    under_way = np.zeros(2)
    for _, key, _, route in starts:
        if key in halted._connections:
            under_way[list(route)] += halted.remaining(key)
    assert halted.moved_bytes_per_link + under_way == pytest.approx(carried, rel=1e-9, abs=1e-3)
    resumed = pickle.loads(pickle.dumps(halted))
    assert finish | play(resumed, []) == finish | play(halted, []) == pytest.approx(expected, rel=1e-9)


def test_events_go_with_stages_not_with_packets():
    def events(nbytes):
        flows, count = TcpFlows([constant(1e7)], Tcp()), 0
        flows.start(0, nbytes, (0,), 0.0, rtt_s=0.1)
        while (due_s := flows.next_finish()) < math.inf:
            flows.advance(due_s)
            count += 1
        return count

    assert events(1e6) <= events(1e7) <= 20  # the set-up, and two for each round until 1 MB is under way
    assert events(1e12) == 2  # a ramp of a second is not worth stages


# -------------------------------------------------------------------------------------------- reference answers


@pytest.fixture(scope="module")
def compared():
    return rows()


def test_a_thousand_cases_of_ns3(compared):
    """Medians within a tenth, and far off is one in twenty at most; of equal flows one in seven, for chance decides
    there who waits for a timeout, as of those that come later or have a longer way."""
    found = {each.kind: each for each in summary(compared) if each.source == NS3_CASES}
    assert sum(each.cases for each in found.values()) == len(ns3_cases()) > 1000
    for kind in ("plain", "short", "long-fat", "shallow queue", "window-limited", "random loss"):
        assert (found[kind].median_error < 0.1, found[kind].within >= 0.95) == (True, True), kind
    assert (found["several flows"].median_error < 0.1, found["several flows"].within > 0.85) == (True, True)
    assert found["several flows, unequal round trips"].within > 0.7
    after = found["several flows, one after the other"]
    assert (after.median_error < 0.25, after.within > 0.65, after.fluid_median_error > FAR) == (True, True, True)
    shallow = [row for row in compared if row.source == NS3_CASES and row.kind == "shallow queue"]
    assert median(abs(row.fluid_error) for row in shallow) > FAR  # which a fluid knows nothing of


def test_a_reno_that_lost_packets_in_a_shallow_queue_climbs_from_where_the_loss_left_it():
    """1 MB/s, 100 ms: 100 packets fill the route, 50 the queue.  Slow start's windows of 10, 20, 40 and 80 take 0.4 s
    after the set-up; the next one fills the route.  It goes on at full pace for a round trip of .1 s and one of .15;
    then windows rise from half of 150 packets by one a round trip, on average 87.5 for 2.5 s."""
    tcp, nbytes = Tcp(1000, 0, queue_packets=50, congestion="reno"), 700e3
    full = 150e3 + 160e3 + 250e3
    line = Line(tcp, 1e6, 0.1)
    start_bytes, stages = line.overflow(1e6)
    assert start_bytes == pytest.approx(75e3)
    assert stages[0].span_s == pytest.approx(0.25)
    assert sum(stage.span_s for stage in stages[1:]) == pytest.approx(2.5)
    assert sum(stage.span_s * stage.most_bytes_per_s for stage in stages[1:]) / 2.5 == pytest.approx(875e3, rel=0.01)
    assert alone(tcp, nbytes, 1e6, 0.1) > alone(tcp, full, 1e6, 0.1) + (nbytes - full) / 1e6
    assert Line(Tcp(1000, 0, queue_packets=100, congestion="reno"), 1e6, 0.1).overflow(1e6) is None
    assert Line(Tcp(queue_packets=0, congestion="bbr"), 1e6, 0.1).overflow(1e6) is None  # it has no such swing
    closed = Tcp(1000, 0, queue_packets=50, congestion="reno", window_bytes=140e3)
    assert Line(closed, 1e6, 0.1).overflow(1e6) is None  # never fills the queue


@pytest.mark.parametrize("congestion", ["cubic", "reno"])
@pytest.mark.parametrize(("rtt_s", "queue"), [(0.1, 666), (0.3, 1294), (0.1, 100)])
def test_a_transfer_that_is_just_too_long_for_stages_takes_no_less(congestion, rtt_s, queue):
    tcp, rate = Tcp(congestion=congestion, queue_packets=queue), 25e6
    line = Line(tcp, rate * tcp.goodput, rtt_s)
    longest = line.ramp[0] * line.rate_bytes_per_s / BRIEF
    staged_s, brief_s = (alone(tcp, longest * times, rate, rtt_s) for times in (0.9999, 1.0001))
    assert staged_s < brief_s < staged_s * (1 + BRIEF / 4)
    staged_s, late_s = (together(tcp, [(0.0, 1e13), (60.0, longest * times)], rate, rtt_s)[1]
                        for times in (0.9999, 1.0001))
    assert staged_s < late_s < staged_s * (1 + BRIEF / 4)


def test_the_card(compared):
    """What the issue asks for: single flows, last finishers of equal flows, Linux within a quarter."""
    single = [row for row in compared if not row.kind.startswith("several")]
    ns3 = [abs(row.error) for row in single if row.source == "ns-3"]
    assert (len(ns3), median(ns3) < 0.02, max(ns3) < 0.15) == (12, True, True)
    equal = [row for row in compared if row.source == "ns-3" and row.kind == "several flows"]
    assert max(abs(row.error) for row in equal) < 0.25
    linux = sorted(abs(row.error) for row in single if row.source == "linux")
    assert linux[-2] < 0.25  # the last is the run of bbr that two repeats do not bear out
    for line in summary(compared):
        assert line.median_error <= line.fluid_median_error, line
    assert {line.kind for line in summary(compared)} >= {"short", "long-fat", "several flows", "window-limited"}


def test_classes():
    assert kind_of(NS3[9]._replace(queue_packets=100)) == "shallow queue"
    assert kind_of(LINUX[17]) == "several flows, one after the other"
    assert document(NS3[0], "fluid")["transport"] == "fluid"
    assert len(predicted_s(NS3[13], "tcp")) == 4
    assert {kind_of(case) for case in ns3_cases()} >= {"random loss", "shallow queue", "several flows"}


@pytest.mark.reference
@pytest.mark.parametrize(("name", "cases"), [("ns3_tcp.json", NS3), ("tcp_linux.json", LINUX[:36]),
                                             ("tcp_linux_repeat.json", LINUX[36:])])
def test_the_figures_are_those_of_the_reference(name, cases):
    if not (REFERENCE / name).exists():
        pytest.skip(f"reference answers not found beside the project: {REFERENCE / name}")
    written = json.loads((REFERENCE / name).read_text())
    runs = written["runs"] if isinstance(written, dict) else written
    assert [list(case.measured_s) for case in cases] == [run["completion_s"] for run in runs]
    assert [(case.rtt_s, case.size_bytes) for case in cases] == [(run["rtt_s"], run["size"]) for run in runs]


def test_lost_packets_take_their_share_of_a_link_that_is_shared():
    """Two equal bbr transfers over one link: together they get what is left beside headers and losses."""
    tcp = Tcp(loss=0.2, congestion="bbr", header_bytes=0)
    flows = TcpFlows([constant(1e6)], tcp)
    for key in range(2):
        flows.start(key, 4e7, (0,), 0.0, rtt_s=0.01)
    ends = []
    while (due_s := flows.next_finish()) < math.inf:
        ends += [due_s] * len(flows.advance(due_s))
    assert ends[-1] == pytest.approx(8e7 / 0.8e6, rel=0.01)


def test_who_comes_late_again_takes_as_long():
    """What a line knows of coming late serves every transfer over it, not the first alone."""
    flows = TcpFlows([constant(2.5e6), constant(1e9)], Tcp(queue_packets=166))
    flows.start(0, 5e9, (0,), 0.0, rtt_s=0.1)  # keeps the queue full

    def ends(until_s):
        found = {}
        while (end_s := flows.next_finish()) <= until_s:
            found |= dict.fromkeys(flows.advance(end_s), end_s)
        flows.advance(until_s)
        return found

    took_s = []
    for key, start_s in ((1, 60.0), (2, 300.0), (3, 600.0)):
        ends(start_s)
        flows.start(key, 20e6, (0, 1), start_s, rtt_s=0.1)
        took_s.append(ends(start_s + 100.0)[key] - start_s)
    assert took_s == pytest.approx([took_s[0]] * 3, rel=1e-9)
    assert took_s[0] > 20.0
