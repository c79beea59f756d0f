"""Emits what happens as event rows, scores the model at epoch marks, and says when the run is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from acesim.engine.messages import Message
from acesim.engine.setup import Sink
from acesim.engine.state import Progress
from acesim.engine.world import World
from acesim.records.blocks import Later
from acesim.records.fold import Fold
from acesim.records.rows import Event, MetricRow
from acesim.scenario.errors import PolicyError
from acesim.seam import Vector

_NEARLY = 1e-9  # epochs are sums of whole steps over whole steps; marks are met to within rounding


class Recorder:
    """The rows of one run.

    sink         takes them (acesim.records.store.RunWriter)
    on_progress  is told every metric row
    """

    def __init__(self, world: World, progress: Progress, sink: Sink,
                 on_progress: Callable[[MetricRow], None] | None) -> None:
        self._world, self._progress, self._sink, self._on_progress = world, progress, sink, on_progress
        self.fold = Fold(world.workers_count, world.regions_count, world.setup.info.tier)
        self._idle_w = sum(device.idle_w for device in world.fleet.devices)
        self._evaluated_s = 0.0
        self.scored: MetricRow | None = None

    def emit(self, event: Event) -> None:
        """Count a row and hand it on."""
        self.fold.add(event)
        self._sink.event(event)

    def emit_all(self, events: Later) -> None:
        """Count many rows and hand them on."""
        self.fold.add_all(events)
        self._sink.block(events)

    def plan(self, now_s: float, report: dict[str, float]) -> None:
        """Note that the cloud planned a round."""
        cloud = self._world.cloud
        self.emit(Event("plan", cloud.round, cloud.row, -1, now_s, now_s))
        for name, value in report.items():
            self.emit(Event("figure", cloud.round, cloud.row, -1, now_s, now_s, name=name, value=value))

    def aggregation(self, row: int, round_number: int, start_s: float, end_s: float) -> None:
        """Note a server's sum, step or encoding."""
        self.emit(Event("aggregate", round_number, row, -1, start_s, end_s, joules=self._busy(row, end_s - start_s)))

    def computation(self, row: int, end_s: float, steps: int, loss: float) -> None:
        """Note a worker's local steps."""
        worker = self._world.workers[row]
        self.emit(Event("compute", worker.round, row, -1, worker.started_s, end_s, steps=steps,
                        wait_s=worker.started_s - worker.ended_s, loss=loss,
                        joules=self._busy(row, end_s - worker.started_s)))

    def encoding(self, row: int, start_s: float, span_s: float) -> None:
        """Note a worker's encoding, where it takes time."""
        if span_s > 0:
            self.emit(Event("encode", self._world.workers[row].round, row, -1, start_s, start_s + span_s,
                            joules=self._busy(row, span_s)))

    def presence(self, row: int, now_s: float, what: str) -> None:
        """Note that a worker has come (join), gone (leave) or crashed."""
        self.emit(Event(what, max(self._world.cloud.round, 0), row, -1, now_s, now_s))

    def lost_work(self, row: int, now_s: float) -> None:
        """Note a computation that was cut short."""
        worker = self._world.workers[row]
        self.emit(Event("lost", worker.round, row, -1, worker.started_s, now_s, name="compute",
                        joules=self._busy(row, now_s - worker.started_s)))

    def lost_message(self, message: Message, nbytes: float, now_s: float) -> None:
        """Note a message that was cut short after `nbytes`."""
        up, begun = message.kind == "up", math.isfinite(message.start_s)
        row, peer = (message.sender, message.receiver) if up else (message.receiver, message.sender)
        radio, start_s = self._world.fleet.radios[row], message.start_s if begun else now_s
        each = radio.up_joules_per_byte if up else radio.down_joules_per_byte
        sent_s = now_s if math.isnan(message.sent_s) else message.sent_s
        joules = each * (nbytes + self._resent(nbytes)) + radio.active_w * (sent_s - start_s)
        self.emit(Event("lost", message.round, row, peer, start_s, now_s, links=len(message.route), joules=joules,
                        name="upload" if up else "download", value=nbytes))

    def message(self, message: Message, now_s: float) -> None:
        """Note a message that has arrived; the row is that of the receiver of a download, the sender of an upload."""
        world, up = self._world, message.kind == "up"
        who, peer = (message.sender, message.receiver) if up else (message.receiver, message.sender)
        resent, joules = self._resent(message.nbytes), 0.0
        if world.is_worker(who):
            radio = world.fleet.radios[who]
            each = radio.up_joules_per_byte if up else radio.down_joules_per_byte
            joules = each * (message.nbytes + resent) + radio.active_w * (message.sent_s - message.start_s)
        wire = message.wire
        staleness = world.servers[message.receiver].version - message.version if up else 0
        self.emit(Event("upload" if up else "download", message.round, who, peer, message.start_s, now_s,
                        values_bytes=wire.values, index_bytes=wire.indices, scale_bytes=wire.scales,
                        control_bytes=message.control, header_bytes=message.header,
                        retransmitted_bytes=resent, links=len(message.route), proxy_bytes=message.proxy_bytes,
                        joules=joules, staleness=staleness))

    def _resent(self, nbytes: float) -> int:
        """Return the bytes that TCP is expected to send again; a fluid loses none."""
        tcp = self._world.setup.tcp
        return 0 if tcp is None else round(tcp.resent_bytes(nbytes))

    def _busy(self, row: int, span_s: float) -> float:
        """Return the energy of work above idling, which is counted all the time."""
        device = self._world.fleet.devices[row]
        return (device.busy_w - device.idle_w) * span_s

    def due(self) -> bool:
        """Say whether an epoch mark has been passed, or as many rounds as the scenario says."""
        rounds = self._world.setup.evaluate_every_rounds
        if rounds is not None and self.scored is not None:
            return self._world.cloud.round + 1 - self.scored.round >= rounds
        return self.scored is None or self._progress.epoch >= math.floor(self.scored.epoch + _NEARLY) + 1 - _NEARLY

    def evaluate(self, now_s: float, alone: bool, own: Sequence[Vector] | None = None) -> None:
        """Score the model (each worker's own where they go alone), emit a metric row.

        own   [W] the variant that each worker follows, where there are variants: scored beside it
        """
        world, progress, task = self._world, self._progress, self._world.setup.task
        round_number, row = max(world.cloud.round, 0), world.cloud.row
        scores = task.evaluate_each([worker.model for worker in world.workers]) if alone \
            else task.evaluate(world.cloud.model)
        if scores.scored and not math.isfinite(scores.loss_nats):
            raise PolicyError(f"epoch {progress.epoch:.2f}: loss is {scores.loss_nats}; lower the learning rate")
        drift = world.measured.drift[np.isfinite(world.measured.drift)]
        self.emit(Event("figure", round_number, row, -1, now_s, now_s, name="drift",
                        value=float(drift.mean()) if drift.size else 0.0))
        if own is not None:
            personal = task.evaluate_own(own)
            for name, value in (("loss_nats", personal.loss_nats), ("top1_percent", personal.top1_percent)):
                self.emit(Event("figure", round_number, row, -1, now_s, now_s, name=f"personal_{name}", value=value))
        self.emit(Event("evaluate", round_number, row, -1, now_s, now_s, loss=scores.loss_nats,
                        joules=self._idle_w * (now_s - self._evaluated_s)))
        self._evaluated_s = now_s
        self.scored = MetricRow(epoch=progress.epoch, round=world.cloud.round + 1, time_s=now_s,
                                progress=progress.share, **scores._asdict(), **self.fold.snapshot())  # type: ignore[arg-type]
        self._sink.metric(self.scored)
        if self._on_progress:
            self._on_progress(self.scored)

    def over(self, now_s: float) -> bool:
        """Say whether the stop rule of the scenario holds."""
        stop = self._world.setup.stop
        rounds = self._world.setup.rounds
        reached = self._progress.share >= 1 - _NEARLY
        reached |= rounds is not None and self._world.cloud.round + 1 >= rounds
        reached |= stop.simulated_time_s is not None and now_s >= stop.simulated_time_s
        if stop.total_bytes is not None:
            sent = self.fold.snapshot()
            reached |= sent["bytes_up"] + sent["bytes_down"] >= stop.total_bytes
        target = stop.target_accuracy_percent
        return bool(reached or (target is not None and self.scored is not None and self.scored.top1_percent >= target))
