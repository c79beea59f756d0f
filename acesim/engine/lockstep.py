"""Rounds that nothing can disturb, played in one go.

Between the plan of a barrier round and its end nobody decides anything: all receive, compute, encode and answer.  Where
no worker can come or go and all routes are a star's, when each of these ends follows from the plan alone, so a round is
a handful of array expressions instead of a thousand entries in the agenda.  The rows, their order and the training are
those of the events; `Setup.one_by_one` plays the events themselves, and tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.engine.cohort import Cohort, Job
from acesim.engine.ledger import Ledger, check_payload
from acesim.engine.played import Messages, Played, Spelling
from acesim.engine.recorder import Recorder
from acesim.engine.state import Progress, Worker, averages
from acesim.engine.variants import speaks
from acesim.engine.world import World, walk
from acesim.network.jitter import Jitter
from acesim.network.lanes import Lane
from acesim.seam import Guide, Payload, Plan, Update, Vector, Wire, Work

Seconds = NDArray[np.float64]
Rows = NDArray[np.int64]


class Download(NamedTuple):
    """What a participant is sent, what it will hold then, and when the server has encoded it."""

    payload: Payload
    result: Vector
    ready_s: float


class Lockstep:
    """Plays whole rounds of a star whose workers are always there."""

    def __init__(self, world: World, cohort: Cohort, ledger: Ledger, recorder: Recorder, progress: Progress,
                 jitter: Jitter) -> None:
        self._world, self._policy, self._cohort, self._ledger = world, world.policy, cohort, ledger
        self._recorder, self._progress, self._jitter = recorder, progress, jitter
        self._lanes = _lanes(world)
        self._handed = {kind: np.zeros(world.workers_count) for kind in self._lanes}  # bytes since `hand_over`
        self._unmeasured: dict[str, tuple[Wire, Wire]] = {}  # of payloads that are all of one size
        self._decode_s = _work_s(world, world.policy.downlink.work("decode"))
        self._encode_s = _work_s(world, world.policy.uplink.work("encode"))
        self._admit_s = float(_work_s(world, world.policy.uplink.work("decode"))[world.cloud_row])
        self._spelling = Spelling(world, {kind: lane.hops for kind, lane in self._lanes.items()}, self._encode_s)

    def fits(self, plan: Plan) -> bool:
        """Say whether a plan's round can be played in one go: whom it names are idle, and all are waited for."""
        cloud = self._world.cloud
        return bool(self._lanes and plan.sync_parent and plan.quorum == 1 and not (cloud.under_way or cloud.inbox))

    @property
    def moved_bytes_per_link(self) -> NDArray[np.float64]:
        """Integral of all rates over each link, float64 [links]."""
        moved = np.zeros(len(self._world.topology.links))
        for lane in self._lanes.values():
            moved += lane.moved_bytes_per_link
        return moved

    def play(self, plan: Plan, now_s: float, down: Sequence[Download], which: Sequence[int],
             guide: Guide | None = None) -> tuple[float, list[Update]]:
        """Play a round; return when the cloud has decoded its last answer, and all answers by sender.

        down    the different ones; which: of them each participant is sent
        guide   what the cloud's optimizer holds
        """
        world, rows, at = self._world, plan.participants, self._at(plan.participants)
        workers, steps = [world.workers[row] for row in rows.tolist()], np.asarray(plan.local_steps)[rows]
        taken = np.array([worker.steps for worker in workers])
        ended_s = np.array([worker.ended_s for worker in workers])
        received = self._send("download", rows, [(each.payload, world.cloud_row) for each in down], which,
                              np.array([each.ready_s for each in down]).take(which), plan.nbytes)
        begin_s = received.here_s + self._decode_s[at]
        end_s = begin_s + world.fleet.spans_s(rows, taken, steps, begin_s)
        # Who ends together is trained together, so that no result waits long.
        order = np.lexsort((rows, received.here_s, begin_s, end_s)).tolist()
        self._begin(plan, workers, order, [down[place].result for place in which], end_s, guide)
        losses, answers = self._trained(plan, workers, order)
        answered = self._send("upload", rows, *_of_sizes(answers), end_s + self._encode_s[at], 4 * plan.sketch)
        self._recorder.emit_all(self._spelling.later(Played(
            world.cloud.round, rows, received, begin_s, end_s, steps, begin_s - ended_s, losses, answered)))
        self._note(rows, now_s, received, (end_s - begin_s, steps), answered)
        return self._admitted(answered.here_s), answers

    def _begin(self, plan: Plan, workers: Sequence[Worker], order: Sequence[int], models: Sequence[Vector],
               end_s: Seconds, guide: Guide | None) -> None:
        """Let workers begin, in the order in which they will end; what only single events read is not written."""
        start, version = self._cohort.start, self._world.cloud.version
        numbers, counts, ends_s = plan.participants.tolist(), np.asarray(plan.local_steps).tolist(), end_s.tolist()
        hand = self._world.hand
        for place in order:
            worker, model, row = workers[place], models[place], numbers[place]
            first, count = worker.steps, counts[row]
            start(Job(row, model, first, count, worker.begun["local"], guide))
            hand(worker, model)
            worker.version, worker.steps, worker.ended_s = version, first + count, ends_s[place]

    def _at(self, rows: Rows) -> Rows | slice:
        """Return what reads these workers' entries of an array: of everybody's, as of most rounds, no copy is made."""
        return slice(self._world.workers_count) if rows.size == self._world.workers_count else rows

    def _trained(self, plan: Plan, workers: Sequence[Worker], order: Sequence[int]) -> tuple[Seconds, list[Update]]:
        """Fetch and encode the participants' results in the order in which they end; return losses and answers by row.

        A result goes when it is encoded: the updates of a whole fleet need not lie beside its payloads.
        """
        numbers, counts = plan.participants.tolist(), np.asarray(plan.local_steps).tolist()
        levels, weights, version = plan.levels, np.asarray(plan.weights).tolist(), self._world.cloud.version
        fetch, encode, sketch = self._cohort.fetch, self._policy.uplink.encode, plan.sketch
        payloads: list[Any] = [None] * len(order)
        told: list[Any] = [None] * len(order)  # loss, how far it has walked, fingerprint of the data
        for place in order:
            row, worker = numbers[place], workers[place]
            result, states = fetch(row), worker.begun
            level = None if levels is None else levels[row]
            payloads[place], states["encoder"] = encode(result.update, level, worker.rng, states["encoder"])
            states["local"] = result.state
            told[place] = result.loss, walk(result, counts[row]), result.batches
            if sketch:
                self._world.note_direction(row, result.update, sketch)
        losses, self._world.measured.drift[numbers], batches = zip(*told, strict=True)
        spoken = repeat(()) if plan.variants is None else [speaks(plan, row) for row in numbers]
        return np.array(losses), [*map(Update, numbers, payloads, [weights[row] for row in numbers], repeat(version),
                                       [counts[row] for row in numbers], spoken, batches)]

    def _send(self, kind: str, rows: Rows, payloads: Sequence[tuple[Payload, int]], which: Sequence[int],
              ready_s: Seconds, control: int) -> Messages:
        """Move a message to or from each participant: which of some payloads and their senders."""
        topology, up = self._world.topology, kind == "upload"
        sizes = self._sizes(kind, payloads)
        each: tuple[Any, ...] = tuple(sizes[0].tolist()) if len(payloads) == 1 else tuple(sizes.T.take(which, axis=1))
        nbytes = np.full(rows.size, each[0] + each[1] + each[2] + float(control + topology.message_header_bytes))
        at = self._at(rows)
        self._handed[kind][at] += nbytes
        sent_s = self._lanes[kind].carry(rows, nbytes, ready_s + topology.message_startup_s)
        usual_s = (topology.up_latency_s if up else topology.down_latency_s)[at]
        latency_s = self._jitter.latencies_s(rows, "up" if up else "down", usual_s)
        return Messages(each, control, nbytes, ready_s, sent_s, sent_s + latency_s)

    def _sizes(self, kind: str, payloads: Sequence[tuple[Payload, int]]) -> NDArray[np.int64]:
        """Return the nominal bytes of payloads and their own [n, 4], after checking these."""
        sizes = []
        for payload, sender in payloads:
            formula, nominal = self._wires(kind, payload.measure)
            check_payload(self._world.name(sender), payload.nbytes, formula.total)
            sizes.append((*nominal, payload.nbytes))
        return np.array(sizes, np.int64)

    def _wires(self, kind: str, measure: Any) -> tuple[Wire, Wire]:
        """Return what a payload takes as trained and as timed; where it measures nothing, that is known."""
        if measure is None and kind in self._unmeasured:
            return self._unmeasured[kind]
        info, compressor = self._world.setup.info, self._policy.uplink if kind == "upload" else self._policy.downlink
        wires = compressor.wire(info.shapes, measure), compressor.wire(info.nominal_shapes, measure)
        if measure is None:
            self._unmeasured[kind] = wires
        return wires

    def _admitted(self, here_s: Seconds) -> float:
        """Return when the cloud has decoded all answers, one after another as they come."""
        cloud, work_s = self._world.cloud, self._admit_s
        for time_s in np.sort(here_s).tolist() if work_s else [float(here_s.max())]:  # without work: the last counts
            cloud.occupy(time_s, work_s)
        return cloud.busy_until_s

    def hand_over(self) -> None:
        """Tell the ledger what messages have handed to each link since the last time."""
        for kind, handed in self._handed.items():
            self._ledger.hand_all(self._lanes[kind].per_link(handed.nonzero()[0], handed[handed != 0]))
            handed[:] = 0.0

    def _note(self, rows: Rows, now_s: float, received: Messages, trained: tuple[Seconds, Rows],
              answered: Messages) -> None:
        """Count the steps, and let the cloud learn: bandwidths from flows, times from rounds."""
        measured, progress, (spans_s, steps), at = self._world.measured, self._progress, trained, self._at(rows)
        progress.steps += sum(steps.tolist())
        progress.slowest_s = max(progress.slowest_s, *spans_s.tolist())
        for known, new in ((measured.down_bandwidth_bytes_per_s, self._rates(received)),
                           (measured.bandwidth_bytes_per_s, self._rates(answered)),
                           (measured.compute_s, spans_s / steps),
                           (measured.round_time_s, answered.here_s - now_s)):
            known[at] = averages(known[at], new)
        measured.asked[at] += 1
        measured.answered[at] += 1
        measured.heard[at] = self._world.cloud.round

    def _rates(self, sent: Messages) -> Seconds:
        """Return the bytes a second of each message's flow [n]; NaN where it took no time."""
        flow_s = sent.sent_s - (sent.ready_s + self._world.topology.message_startup_s)
        rates: Seconds = np.divide(sent.nbytes, flow_s, out=np.full(sent.nbytes.size, np.nan), where=flow_s > 0)
        return rates


def _work_s(world: World, work: Work) -> Seconds:
    """Return the simulated time of declared work on one nominal model for each row of the fleet."""
    fleet, entries = world.fleet, world.setup.info.nominal_size
    return np.array([fleet.launch_s(row, work) + fleet.work_s(row, work, entries) for row in range(len(fleet.devices))])


def _of_sizes(answers: Sequence[Update]) -> tuple[list[tuple[Payload, int]], list[int]]:
    """Return (payloads of different sizes and who sends them first, which of these each answer's is like)."""
    places: dict[tuple[int, int], int] = {}
    different: list[tuple[Payload, int]] = []
    which = []
    for answer in answers:
        payload = answer.payload
        place = places.setdefault((id(payload.measure), payload.nbytes), len(different))
        if place == len(different):
            different.append((payload, answer.sender))
        which.append(place)
    return different, which


def _lanes(world: World) -> dict[str, Lane]:
    """Return the lanes of a world whose rounds can be played in one go; none where they cannot."""
    setup, topology = world.setup, world.topology
    up, down = topology.up_route, topology.down_route
    eventful = world.in_regions or world.fleet.presence or setup.tcp or setup.timeout_s is not None
    if setup.one_by_one or eventful or world.policy.uplink.chunks or world.policy.downlink.chunks:
        return {}
    if not set(chain(*up)).isdisjoint(chain(*down)):  # each lane has a clock of its own
        return {}
    return {"upload": Lane(topology.links, up), "download": Lane(topology.links, down)}
