"""Rounds that nothing can disturb, played in one go.

Between the plan of a barrier round and its end nobody decides anything: all receive, compute, encode and answer.  Where
no worker can come or go and all routes are a star's, when each of these ends follows from the plan alone, so a round is
a handful of array expressions instead of a thousand entries in the agenda.  The rows, their order and the training are
those of the events; `Setup.one_by_one` plays the events themselves, and tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.engine.cohort import Cohort, Job
from acesim.engine.ledger import Ledger, check_payload
from acesim.engine.recorder import Recorder
from acesim.engine.state import Progress, Worker, averages
from acesim.engine.variants import speaks
from acesim.engine.world import World, walk
from acesim.network.jitter import Jitter
from acesim.network.lanes import Lane
from acesim.records.blocks import Block, Mixed
from acesim.seam import Guide, Payload, Plan, Update, Vector, Wire, Work

Seconds = NDArray[np.float64]
Rows = NDArray[np.int64]


class Download(NamedTuple):
    """What a participant is sent, what it will hold then, and when the server has encoded it."""

    payload: Payload
    result: Vector
    ready_s: float


class Messages(NamedTuple):
    """Messages of one direction, a row a participant: when ready to leave, when the last byte has left, when there.

    sizes    values, indices, scales, and bytes of the same payloads as trained: int64 [n] each, or the one of all
    control  bytes that ride on each
    """

    sizes: tuple[NDArray[np.int64] | int, ...]
    control: int
    nbytes: Seconds
    ready_s: Seconds
    sent_s: Seconds
    here_s: Seconds


class Lockstep:
    """Plays whole rounds of a star whose workers are always there."""

    def __init__(self, world: World, cohort: Cohort, ledger: Ledger, recorder: Recorder, progress: Progress,
                 jitter: Jitter) -> None:
        self._world, self._policy, self._cohort, self._ledger = world, world.policy, cohort, ledger
        self._recorder, self._progress, self._jitter = recorder, progress, jitter
        self._lanes = _lanes(world)
        self._handed = {kind: np.zeros(world.workers_count) for kind in self._lanes}  # bytes since `hand_over`
        self._unmeasured: dict[str, tuple[Wire, Wire]] = {}  # of payloads that are all of one size
        devices, self._radios = world.fleet.devices, np.array(world.fleet.radios)
        self._byte_s = np.array([1 / device.memory_bytes_per_s for device in devices])
        self._flop_s = np.array([1 / device.flops_per_s for device in devices])
        self._launch_s = np.array([device.launch_s for device in devices])
        self._busy_w = np.array([device.busy_w - device.idle_w for device in devices])

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
        world, rows, downlink, uplink = self._world, plan.participants, self._policy.downlink, self._policy.uplink
        workers, steps = [world.workers[row] for row in rows.tolist()], np.asarray(plan.local_steps)[rows]
        received = self._send("download", rows, [each.payload for each in down], which,
                              np.array([each.ready_s for each in down]).take(which), plan.nbytes)
        begin_s = received.here_s + self._work_s(rows, downlink.work("decode"))
        end_s = begin_s + world.fleet.spans_s(rows, np.array([worker.steps for worker in workers]), steps, begin_s)
        waits_s = begin_s - np.array([worker.ended_s for worker in workers])
        # Who ends together is trained together, so that no result waits long.
        order = np.lexsort((rows, received.here_s, begin_s, end_s)).tolist()
        self._begin(plan, workers, order, [down[place].result for place in which], guide)
        losses, answers = self._trained(plan, workers, order)
        for worker, ended_s in zip(workers, end_s.tolist(), strict=True):
            worker.ended_s = ended_s
        encode_s = self._work_s(rows, uplink.work("encode"))
        answered = self._send("upload", rows, *_alike([each.payload for each in answers]), end_s + encode_s,
                              4 * plan.sketch)
        self._emit(rows, received, (begin_s, end_s, steps, waits_s, losses), encode_s, answered)
        self._note(rows, now_s, received, (end_s - begin_s, steps), answered)
        return self._admitted(answered.here_s), answers

    def _begin(self, plan: Plan, workers: Sequence[Worker], order: Sequence[int], models: Sequence[Vector],
               guide: Guide | None) -> None:
        """Let workers begin, in the order in which they will end; what only single events read is not written."""
        start, version = self._cohort.start, self._world.cloud.version
        numbers, counts = plan.participants.tolist(), np.asarray(plan.local_steps).tolist()
        for place in order:
            worker, model, row = workers[place], models[place], numbers[place]
            first, count = worker.steps, counts[row]
            start(Job(row, model, first, count, worker.begun["local"], guide))
            self._world.hand(worker, model)
            worker.version, worker.steps = version, first + count

    def _work_s(self, rows: Rows, work: Work) -> Seconds:
        """Return the simulated time of declared work on one nominal model [n]."""
        if not any(work):
            return np.zeros(len(rows))
        entries = self._world.setup.info.nominal_size
        each: Seconds = work.bytes * self._byte_s[rows] + work.flops * self._flop_s[rows]
        return work.launches * self._launch_s[rows] + entries * each

    def _trained(self, plan: Plan, workers: Sequence[Worker], order: Sequence[int]) -> tuple[Seconds, list[Update]]:
        """Fetch and encode the participants' results in the order in which they end; return losses and answers by row.

        A result goes when it is encoded: the updates of a whole fleet need not lie beside its payloads.
        """
        numbers, counts = plan.participants.tolist(), np.asarray(plan.local_steps).tolist()
        levels, weights, version = plan.levels, np.asarray(plan.weights).tolist(), self._world.cloud.version
        fetch, encode, sketch = self._cohort.fetch, self._policy.uplink.encode, plan.sketch
        losses, walks, one_model = [0.0] * len(order), [0.0] * len(order), plan.variants is None
        answers: list[Any] = [None] * len(order)
        for place in order:
            row, worker = numbers[place], workers[place]
            result, states = fetch(row), worker.begun
            level = None if levels is None else levels[row]
            payload, states["encoder"] = encode(result.update, level, worker.rng, states["encoder"])
            states["local"], losses[place], walks[place] = result.state, result.loss, walk(result, counts[row])
            if sketch:
                self._world.note_direction(row, result.update, sketch)
            answers[place] = Update(row, payload, weights[row], version, counts[row],
                                    () if one_model else speaks(plan, row), result.batches)
        self._world.measured.drift[numbers] = walks
        return np.array(losses), answers

    def _send(self, kind: str, rows: Rows, payloads: Sequence[Payload], which: Sequence[int], ready_s: Seconds,
              control: int) -> Messages:
        """Move a message to or from each participant: which of some payloads."""
        topology, up = self._world.topology, kind == "upload"
        firsts = [int(rows[which.index(place)]) if up else self._world.cloud_row for place in range(len(payloads))]
        sizes = self._sizes(kind, payloads, firsts)
        each: tuple[Any, ...] = tuple(sizes[0].tolist()) if len(payloads) == 1 else tuple(sizes.T.take(which, axis=1))
        nbytes = np.full(rows.size, each[0] + each[1] + each[2] + float(control + topology.message_header_bytes))
        self._handed[kind][rows] += nbytes
        sent_s = self._lanes[kind].carry(rows, nbytes, ready_s + topology.message_startup_s)
        usual_s = (topology.up_latency_s if up else topology.down_latency_s)[rows]
        latency_s = self._jitter.latencies_s(rows.tolist(), "up" if up else "down", usual_s)
        return Messages(each, control, nbytes, ready_s, sent_s, sent_s + latency_s)

    def _sizes(self, kind: str, payloads: Sequence[Payload], senders: Sequence[int]) -> NDArray[np.int64]:
        """Return the nominal bytes of payloads and their own [n, 4], after checking these."""
        sizes = []
        for payload, sender in zip(payloads, senders, strict=True):
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
        cloud = self._world.cloud
        work_s = float(self._work_s(np.array([cloud.row]), self._policy.uplink.work("decode"))[0])
        for time_s in np.sort(here_s).tolist() if work_s else [float(here_s.max())]:  # without work: the last counts
            cloud.occupy(time_s, work_s)
        return cloud.busy_until_s

    def hand_over(self) -> None:
        """Tell the ledger what messages have handed to each link since the last time."""
        for kind, handed in self._handed.items():
            self._ledger.hand_all(self._lanes[kind].per_link(handed.nonzero()[0], handed[handed != 0]))
            handed[:] = 0.0

    # --- what is noted -------------------------------------------------------------------------------------------

    def _note(self, rows: Rows, now_s: float, received: Messages, trained: tuple[Seconds, Rows],
              answered: Messages) -> None:
        """Count the steps, and let the cloud learn: bandwidths from flows, times from rounds."""
        measured, progress, (spans_s, steps) = self._world.measured, self._progress, trained
        progress.steps += int(steps.sum())
        progress.slowest_s = max(progress.slowest_s, float(spans_s.max()))
        for known, new in ((measured.down_bandwidth_bytes_per_s, self._rates(received)),
                           (measured.bandwidth_bytes_per_s, self._rates(answered)),
                           (measured.compute_s, spans_s / steps),
                           (measured.round_time_s, answered.here_s - now_s)):
            known[rows] = averages(known[rows], new)
        measured.asked[rows] += 1
        measured.answered[rows] += 1
        measured.heard[rows] = self._world.cloud.round

    def _rates(self, sent: Messages) -> Seconds:
        """Return the bytes a second of each message's flow [n]; NaN where it took no time."""
        flow_s = sent.sent_s - (sent.ready_s + self._world.topology.message_startup_s)
        rates: Seconds = np.divide(sent.nbytes, flow_s, out=np.full(sent.nbytes.size, np.nan), where=flow_s > 0)
        return rates

    def _emit(self, rows: Rows, received: Messages, trained: tuple[Any, ...], encode_s: Seconds,
              answered: Messages) -> None:
        """Emit the rows of a round in the order in which its events would have come."""
        begin_s, end_s, steps, waits_s, losses = trained
        busy_w, count, facts = self._busy_w[rows], rows.size, {"round": self._world.cloud.round, "who": rows}
        computed = Block.of("compute", count, **facts, start_s=begin_s, end_s=end_s, steps=steps, wait_s=waits_s,
                            loss=losses, joules=busy_w * (end_s - begin_s))
        blocks = [self._rows("download", facts, received), computed, self._rows("upload", facts, answered)]
        times_s = [received.here_s, end_s, answered.here_s]
        if encode_s.any():  # all or none: the work is declared for all alike
            blocks.insert(2, Block.of("encode", count, **facts, start_s=end_s, end_s=end_s + encode_s,
                                      joules=busy_w * encode_s))
            times_s.insert(2, end_s)
        self._recorder.emit_all(Mixed(tuple(blocks), np.argsort(np.concatenate(times_s), kind="stable")))

    def _rows(self, kind: str, facts: dict[str, Any], sent: Messages) -> Block:
        """Return the event rows of messages."""
        topology, up, rows = self._world.topology, kind == "upload", facts["who"]
        joules_per_byte, active_w = self._radios[rows, 0 if up else 1], self._radios[rows, 2]
        values, indices, scales, proxy = sent.sizes
        joules = joules_per_byte * sent.nbytes + active_w * (sent.sent_s - sent.ready_s)
        return Block.of(kind, rows.size, **facts, peer=self._world.cloud_row, start_s=sent.ready_s, end_s=sent.here_s,
                        values_bytes=values, index_bytes=indices, scale_bytes=scales, control_bytes=sent.control,
                        header_bytes=topology.message_header_bytes, links=self._lanes[kind].hops[rows],
                        proxy_bytes=proxy, joules=joules)


def _alike(payloads: Sequence[Payload]) -> tuple[list[Payload], list[int]]:
    """Return (payloads of different sizes, which of them each is like)."""
    known: dict[tuple[int, int], int] = {}
    different, which = list[Payload](), list[int]()
    for payload in payloads:
        size = id(payload.measure), payload.nbytes
        place = known.get(size)
        if place is None:
            place = known[size] = len(different)
            different.append(payload)
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
