"""One run: a policy played on a fleet and a network.

The protocol is one for all policies of a tree.  A round of a server opens with a model for every idle participant, and
closes when the quorum of those under way has answered; what answers later is late.  A barrier is a quorum of 1, an
asynchronous server a quorum of 0: each answer closes a round and is answered at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from acesim.aggregators import weighted_mean
from acesim.engine.agenda import Agenda
from acesim.engine.cohort import Cohort, Job, Result
from acesim.engine.ledger import Ledger, check_payload
from acesim.engine.messages import Carrier, Message
from acesim.engine.prints import TrainingPrint
from acesim.engine.setup import Outcome, Setup, Sink
from acesim.engine.state import Measured, Progress, Server, Worker, average
from acesim.fleet.fleet import FORWARD_SHARE
from acesim.network.flows import Flows
from acesim.records.rows import Event, Fold, MetricRow
from acesim.scenario.errors import PolicyError
from acesim.scenario.streams import stream
from acesim.seam import Payload, Plan, Update, Vector, View


class Simulation:
    """The state of one run and the actions that change it.

    Fleet rows: workers 0..W-1, region servers W..W+R-1 (the data centre's own the last), the cloud server W+R.
    """

    def __init__(self, setup: Setup, sink: Sink, on_progress: Callable[[MetricRow], None] | None = None) -> None:
        self.setup, self._sink, self._on_progress = setup, sink, on_progress
        self.policy, self.fleet, self.topology = setup.policy, setup.fleet, setup.topology
        self.workers_count, self.regions_count = len(setup.info.tier), setup.info.regions
        self.cloud_row = self.workers_count + self.regions_count
        self.tier = np.array(setup.info.tier)
        self.examples = np.array(setup.info.examples)
        self.agenda = Agenda(self._play)
        self.ledger = Ledger(len(self.topology.links))
        self.carrier = Carrier(Flows(self.topology.links), self.agenda, self.ledger)
        self.cohort = Cohort(setup.task, self.policy.local, setup.chunk)
        self.fold = Fold(self.workers_count, self.regions_count, setup.info.tier)
        self.print = TrainingPrint()
        self.measured = Measured.of(self.workers_count, self.regions_count)
        self._populate(setup.task.initial(setup.seed))
        enrolled = self.policy.schedule.enrolled(self.tier)
        self.progress = Progress(int(enrolled.sum()), setup.info.total_steps, setup.info.steps_per_epoch)
        self.scored: Any = None

    def _populate(self, model: Vector) -> None:
        seed, size = self.setup.seed, model.size
        self.workers = [Worker(model, self.policy.local.init(size), self.policy.uplink.init(size),
                               stream(seed, "compressor", row)) for row in range(self.workers_count)]
        rows = range(self.workers_count)
        by_region = [tuple(row for row in rows if self.topology.region_of[row] == region)
                     for region in range(self.regions_count)]
        regions = [Server(self.workers_count + region, model, by_region[region], self.policy.uplink.init(size),
                          stream(seed, "compressor", self.workers_count + region))
                   for region in range(self.regions_count)] if self.policy.tree == "regions" else []
        children = tuple(server.row for server in regions if server.children) if regions else tuple(rows)
        self.cloud = Server(self.cloud_row, model, children, rng=stream(seed, "compressor", self.cloud_row))
        self.servers = {server.row: server for server in [*regions, self.cloud]}
        self.outer = self.policy.aggregator.init(model)
        self.down_state = self.policy.downlink.init(size)
        self.planner: Any = None

    # --- the run -------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Play until the stop rule holds; return what came of it."""
        self.planner = self.policy.schedule.init(self._view(), stream(self.setup.seed, "sampling"))
        self._evaluate()
        self._open_round()
        self.agenda.run()
        if self.progress.share < 1 and not self._stops():
            raise PolicyError(f"the run stands still after round {self.cloud.round}: nobody computes and nothing is "
                              "under way; the schedule's plan names no idle participant")
        return Outcome(self.cloud.model, self.fold.totals(), self.print.hexdigest(self.cloud.model),
                       self.progress.ideal_s, self.cloud.round + 1)

    def _play(self, action: str, arguments: tuple[Any, ...]) -> None:
        match action:
            case "launch":
                self.carrier.launch(*arguments)
            case "settle":
                self.carrier.settle()
            case "flows":
                self.carrier.finish()
            case "arrive":
                self._arrive(self.carrier.take(*arguments))
            case "compute":
                self._compute(*arguments)
            case "send":
                self._send_update(*arguments)
            case "pass_on":
                self._pass_on(*arguments)
            case "admit":
                self._admit(*arguments)
            case "open":
                self._open_round()

    def _emit(self, event: Event) -> None:
        self.fold.add(event)
        self._sink.event(event)

    # --- servers: rounds -----------------------------------------------------------------------------------------

    def _open_round(self) -> None:
        """Plan, and send the model to every idle participant (through its region, where there are regions)."""
        cloud, now_s = self.cloud, self.agenda.now_s
        cloud.round += 1
        plan, self.planner = self.policy.schedule.plan(self._view(), self.planner)
        self.progress.plan, self.progress.slowest_s = plan, 0.0
        self._emit(Event("plan", cloud.round, self.cloud_row, -1, now_s, now_s))
        for name, value in plan.report.items():
            self._emit(Event("figure", cloud.round, self.cloud_row, -1, now_s, now_s, name=name, value=value))
        chosen = [int(row) for row in plan.participants if self.workers[row].phase == "idle"]
        if not plan.participants.size:
            raise PolicyError(f"round {cloud.round}: the plan names no participant; a round needs at least one")
        if not plan.sync_parent:
            self._go_on_alone(chosen, plan)
            return
        for row in chosen:
            self.workers[row].phase, self.workers[row].round = "receiving", cloud.round
            self.workers[row].asked_s = now_s
            self.measured.asked[row] += 1
        if self.policy.tree == "regions":
            chosen = sorted({self.workers_count + int(self.topology.region_of[row]) for row in chosen})
        self._ask(cloud, chosen, plan)

    def _ask(self, server: Server, children: list[int], plan: Plan) -> None:
        """Send each child the difference between the model and what it is known to hold; wait for the quorum."""
        waiting = server.under_way if plan.late == "apply" else set()
        server.under_way = server.under_way | set(children)
        server.need = max(1, math.ceil(plan.quorum * len(waiting | set(children)) - 1e-9))
        encoded: dict[int, tuple[Payload, Vector]] = {}
        work_s = self.fleet.work_s(server.row, self.policy.downlink.work("encode"), self.setup.info.nominal_size)
        for child in children:
            held = self.workers[child].model if child < self.workers_count else self.servers[child].model
            if id(held) not in encoded:
                encoded[id(held)] = self._encode_down(server, held, plan)
                server.occupy(self.agenda.now_s, work_s)
            self._send_down(server, child, *encoded[id(held)], plan)
        if len(server.inbox) >= server.need:  # answers that came while the last round was being closed
            self._close_round(server)

    def _encode_down(self, server: Server, held: Vector, plan: Plan) -> tuple[Payload, Vector]:
        """Return the payload for a child that holds `held`, and what it will hold then."""
        downlink = self.policy.downlink
        payload, self.down_state = downlink.encode(server.model - held, plan.down_level, server.rng, self.down_state)
        return payload, server.model if downlink.lossless else held + downlink.decode(payload.body, held.size)

    def _send_down(self, server: Server, child: int, payload: Payload, result: Vector, plan: Plan) -> None:
        wire = self._wire(server.row, self.policy.downlink, payload)
        route, latency_s = self._route("down", server.row, child)
        header = self.topology.message_header_bytes
        message = Message("down", server.row, child, self.cloud.round, server.version, payload, wire, plan.nbytes,
                          header, route, latency_s, [], result=result)
        message.parts = [(max(self.agenda.now_s, server.busy_until_s), float(message.nbytes))]
        if child >= self.workers_count:
            self.servers[child].round = self.cloud.round
        self.carrier.send(message)

    def _close_round(self, server: Server) -> None:
        """Aggregate the inbox: the cloud takes a step and opens the next round, a region answers upward."""
        inbox = sorted(server.inbox, key=lambda message: message.sender)
        server.inbox, server.need = [], 0
        updates = [Update(each.sender, each.payload, each.weight, each.version) for each in inbox]
        if server is self.cloud:
            self._step(inbox, updates)
        else:
            self._answer(server, inbox, updates)

    def _step(self, inbox: list[Message], updates: list[Update]) -> None:
        """Take the cloud's aggregation step."""
        cloud, before = self.cloud, self.cloud.model
        cloud.model, self.outer = self.policy.aggregator.step(before, updates, self.policy.uplink, self.outer)
        if not np.isfinite(cloud.model).all():
            raise PolicyError(f"round {cloud.round}: the model is no longer finite; lower the learning rate or the "
                              "compression")
        self.progress.update, self.progress.step = self.policy.aggregator.update(self.outer), cloud.model - before
        cloud.version += 1
        self.print.add_round(inbox)
        work_s = self.fleet.work_s(cloud.row, self.policy.aggregator.work(), self.setup.info.nominal_size)
        done_s = cloud.occupy(self.agenda.now_s, work_s)
        self._emit(Event("aggregate", cloud.round, cloud.row, -1, self.agenda.now_s, done_s))
        self._finish_round(done_s)

    def _finish_round(self, done_s: float) -> None:
        """Count progress, evaluate at epoch marks, and go on unless the run is over."""
        self.progress.ideal_s += self.progress.slowest_s
        if self.progress.epoch >= self.progress.marks - 1e-9:
            self._evaluate()
        if self._stops():
            if self.scored.epoch < self.progress.epoch:
                self._evaluate()
            self.agenda.stop()
        else:
            self.agenda.at(done_s, "open")

    def _answer(self, server: Server, inbox: list[Message], updates: list[Update]) -> None:
        """Sum a region's inbox, encode the sum again and send it up."""
        size, plan = server.model.size, self.progress.plan
        mean = weighted_mean(updates, self.policy.uplink, size)
        levels = plan.region_levels if plan else None
        level = levels[server.row - self.workers_count] if levels is not None else None
        payload, server.encoder = self.policy.uplink.encode(mean, level, server.rng, server.encoder)
        wire = self._wire(server.row, self.policy.uplink, payload)
        work_s = self.fleet.work_s(server.row, self.policy.uplink.work("encode"), self.setup.info.nominal_size)
        ready_s = server.occupy(self.agenda.now_s, work_s)
        self._emit(Event("aggregate", server.round, server.row, -1, self.agenda.now_s, ready_s))
        route, latency_s = self._route("up", server.row, self.cloud_row)
        message = Message("up", server.row, self.cloud_row, server.round, min(each.version for each in inbox), payload,
                          wire, 0, self.topology.message_header_bytes, route, latency_s, [],
                          weight=sum(each.weight for each in inbox), batches=self.print.of_region(inbox))
        message.parts = [(ready_s, float(message.nbytes))]
        self.carrier.send(message)

    # --- arrivals ------------------------------------------------------------------------------------------------

    def _arrive(self, message: Message) -> None:
        self._record(message)
        receiver, size = message.receiver, self.setup.info.nominal_size
        compressor = self.policy.downlink if message.kind == "down" else self.policy.uplink
        work_s = self.fleet.work_s(receiver, compressor.work("decode"), size)
        if receiver < self.workers_count:
            worker = self.workers[receiver]
            worker.model, worker.version = message.result, message.version
            self.agenda.at(self.agenda.now_s + work_s, "compute", receiver)
            return
        done_s = self.servers[receiver].occupy(self.agenda.now_s, work_s)
        if message.kind == "down":
            self.agenda.at(done_s, "pass_on", message)
        else:
            self._measure(message)
            self.agenda.at(done_s, "admit", message)

    def _record(self, message: Message) -> None:
        """Emit the row of a message; the row is the acting one's: receiver of a download, sender of an upload."""
        up = message.kind == "up"
        who, peer = (message.sender, message.receiver) if up else (message.receiver, message.sender)
        joules = 0.0
        if who < self.workers_count:
            radio = self.fleet.radios[who]
            each = radio.up_joules_per_byte if up else radio.down_joules_per_byte
            joules = each * message.nbytes + radio.active_w * (message.sent_s - message.start_s)
        wire = message.wire
        staleness = self.servers[message.receiver].version - message.version if up else 0
        self._emit(Event("upload" if up else "download", message.round, who, peer, message.start_s, self.agenda.now_s,
                         values_bytes=wire.values, index_bytes=wire.indices, scale_bytes=wire.scales,
                         control_bytes=message.control, header_bytes=message.header, links=len(message.route),
                         proxy_bytes=message.payload.nbytes, joules=joules, staleness=staleness))

    def _measure(self, message: Message) -> None:
        """Let the cloud learn from an upload: bandwidth from its flow, time from its round."""
        measured, sender = self.measured, message.sender
        span_s = message.sent_s - message.start_s
        rate = message.nbytes / span_s if span_s > 0 else float("nan")
        if sender >= self.workers_count:
            region = sender - self.workers_count
            known = measured.region_bandwidth_bytes_per_s
            known[region] = average(known[region], rate)
            return
        known = measured.bandwidth_bytes_per_s
        known[sender] = average(known[sender], rate)
        known = measured.round_time_s
        known[sender] = average(known[sender], self.agenda.now_s - self.workers[sender].asked_s)

    def _pass_on(self, message: Message) -> None:
        """Let a region hand the new model to its idle participants."""
        region, plan = self.servers[message.receiver], self.progress.plan
        region.model, region.version = message.result, message.version
        waiting = [row for row in region.children
                   if self.workers[row].phase == "receiving" and row not in region.under_way]
        self._ask(region, waiting, plan)

    def _admit(self, message: Message) -> None:
        """Take a decoded answer into the inbox; close the round when the quorum is there."""
        server, sender, plan = self.servers[message.receiver], message.sender, self.progress.plan
        server.under_way.discard(sender)
        late = message.round < server.round
        if sender < self.workers_count:
            self.workers[sender].phase = "idle"
            self.measured.heard[sender] = server.round
            self.measured.answered[sender] += not late
        if late and plan.late != "apply":
            self._set_aside(message, plan)
            return
        server.inbox.append(message)
        if server.need and len(server.inbox) >= server.need:
            self._close_round(server)

    def _set_aside(self, message: Message, plan: Plan) -> None:
        """Drop a late update, or give what it carried back to its sender's residual."""
        if plan.late == "to_residual" and message.sender < self.workers_count:
            worker = self.workers[message.sender]
            worker.encoder = self.policy.uplink.give_back(message.payload.body, worker.model.size, worker.encoder)

    # --- workers -------------------------------------------------------------------------------------------------

    def _compute(self, row: int) -> None:
        """Begin a worker's local steps."""
        worker, plan, now_s = self.workers[row], self.progress.plan, self.agenda.now_s
        steps = int(plan.local_steps[row])
        if steps < 1:
            raise PolicyError(f"round {worker.round}: worker {self.topology.worker_names[row]} was asked for {steps} "
                              "local steps; a participant computes at least one")
        times_s = self.fleet.compute_s(row, worker.steps, steps)
        worker.phase, worker.started_s = "computing", now_s
        self.cohort.start(Job(row, worker.model, worker.steps, steps, worker.local))
        end_s = now_s + float(times_s.sum())
        early = self.policy.uplink.chunks and plan.sync_parent
        backward_s = float(times_s[-1]) * (1 - FORWARD_SHARE)
        self.agenda.at(end_s - backward_s if early else end_s, "send", row, end_s, backward_s, steps)

    def _send_update(self, row: int, end_s: float, backward_s: float, steps: int) -> None:
        """Fetch a worker's result, encode it, and send its parts as they become ready."""
        worker, plan = self.workers[row], self.progress.plan
        result = self.cohort.fetch(row)
        self._note_compute(row, end_s, steps, result)
        if not plan.sync_parent:
            self._keep(row, result)
            return
        level = plan.levels[row] if plan.levels is not None else None
        payload, worker.encoder = self.policy.uplink.encode(result.update, level, worker.rng, worker.encoder)
        wire = self._wire(row, self.policy.uplink, payload)
        parent = self.workers_count + int(self.topology.region_of[row]) if self.policy.tree == "regions" \
            else self.cloud_row
        route, latency_s = self._route("up", row, parent)
        message = Message("up", row, parent, worker.round, worker.version, payload, wire, 0,
                          self.topology.message_header_bytes, route, latency_s, [],
                          weight=float(plan.weights[row]), batches=result.batches)
        encode_s = self.fleet.work_s(row, self.policy.uplink.work("encode"), self.setup.info.nominal_size)
        message.parts = parts(payload, float(message.nbytes), end_s, backward_s, encode_s)
        worker.phase = "sending"
        if encode_s > 0:
            self._emit(Event("encode", worker.round, row, -1, end_s, end_s + encode_s, joules=self._busy(row, encode_s)))
        self.carrier.send(message)

    def _note_compute(self, row: int, end_s: float, steps: int, result: Result) -> None:
        worker, span_s = self.workers[row], end_s - self.workers[row].started_s
        self._emit(Event("compute", worker.round, row, -1, worker.started_s, end_s, steps=steps,
                         wait_s=worker.started_s - worker.ended_s, joules=self._busy(row, span_s), loss=result.loss))
        worker.ended_s, worker.local = end_s, result.state
        worker.steps += steps
        self.progress.steps += steps
        self.progress.slowest_s = max(self.progress.slowest_s, span_s)
        known = self.measured.compute_s
        known[row] = average(known[row], span_s / steps)
        self.measured.drift[row] = float(np.linalg.norm(result.update)) if steps > 1 else 0.0

    def _busy(self, row: int, span_s: float) -> float:
        device = self.fleet.devices[row]
        return (device.busy_w - device.idle_w) * span_s

    def _go_on_alone(self, chosen: list[int], plan: Plan) -> None:
        """Let participants train on from their own models; the round ends when all of them have."""
        self.cloud.under_way, self.cloud.need = set(chosen), len(chosen)
        for row in chosen:
            self.workers[row].round = self.cloud.round
            self._compute(row)

    def _keep(self, row: int, result: Result) -> None:
        """A worker alone takes its own result for its model."""
        worker = self.workers[row]
        worker.model, worker.phase = worker.model - result.update, "idle"
        self.print.add_alone(row, result)
        self.cloud.under_way.discard(row)
        if not self.cloud.under_way:
            self._finish_round(self.agenda.now_s)

    # --- what the rest needs -------------------------------------------------------------------------------------

    def _wire(self, sender: int, compressor: Any, payload: Payload) -> Any:
        """Return a payload's nominal bytes, after checking its own count."""
        info = self.setup.info
        check_payload(self._name(sender), payload.nbytes, compressor.wire(info.shapes, payload.measure).total)
        return compressor.wire(info.nominal_shapes, payload.measure)

    def _name(self, row: int) -> str:
        if row < self.workers_count:
            return str(self.topology.worker_names[row])
        return "cloud" if row == self.cloud_row else f"region-{row - self.workers_count}"

    def _route(self, kind: str, sender: int, receiver: int) -> tuple[tuple[int, ...], float]:
        """Return the links between two rows and the one-way latency."""
        topology, below = self.topology, sender if kind == "up" else receiver
        if below >= self.workers_count:
            region = below - self.workers_count
            routes, latency = (topology.region_up, topology.region_up_latency_s) if kind == "up" else \
                (topology.region_down, topology.region_down_latency_s)
            return routes[region], float(latency[region])
        if self.policy.tree == "regions":
            routes, latency = (topology.up_to_region, topology.up_to_region_latency_s) if kind == "up" else \
                (topology.down_from_region, topology.down_from_region_latency_s)
        else:
            routes, latency = (topology.up_route, topology.up_latency_s) if kind == "up" else \
                (topology.down_route, topology.down_latency_s)
        return routes[below], float(latency[below])

    def _view(self) -> View:
        """Return what the cloud knows."""
        measured, progress = self.measured, getattr(self, "progress", None)
        asked = np.maximum(measured.asked, 1)
        return View(round=max(self.cloud.round, 0), progress=progress.share if progress else 0.0,
                    time_s=self.agenda.now_s, bandwidth_bytes_per_s=measured.bandwidth_bytes_per_s.copy(),
                    region_bandwidth_bytes_per_s=measured.region_bandwidth_bytes_per_s.copy(),
                    latency_s=np.asarray(self.topology.up_latency_s), compute_s=measured.compute_s.copy(),
                    round_time_s=measured.round_time_s.copy(), examples=self.examples, tier=self.tier,
                    region=np.asarray(self.topology.region_of), participation=measured.answered / asked,
                    staleness=np.maximum(self.cloud.round - measured.heard, 0), drift=measured.drift.copy(),
                    update=progress.update if progress else None, step=progress.step if progress else None)

    def _evaluate(self) -> None:
        """Score the model, check the ledger, and emit what the run has come to."""
        now_s, progress = self.agenda.now_s, self.progress
        alone = progress.plan is not None and not progress.plan.sync_parent
        task = self.setup.task
        scores = task.evaluate_each([worker.model for worker in self.workers]) if alone \
            else task.evaluate(self.cloud.model)
        if not math.isfinite(scores.loss_nats):
            raise PolicyError(f"epoch {progress.epoch:.2f}: loss is {scores.loss_nats}; lower the learning rate")
        drift = float(np.nanmean(self.measured.drift)) if np.isfinite(self.measured.drift).any() else 0.0
        self._emit(Event("figure", max(self.cloud.round, 0), self.cloud_row, -1, now_s, now_s, name="drift",
                         value=drift))
        idle_w = sum(device.idle_w for device in self.fleet.devices)
        self._emit(Event("evaluate", max(self.cloud.round, 0), self.cloud_row, -1, now_s, now_s,
                         joules=idle_w * (now_s - progress.evaluated_s), loss=scores.loss_nats))
        progress.evaluated_s = now_s
        progress.marks = math.floor(progress.epoch + 1e-9) + 1
        self.ledger.check(self.carrier.flows.moved_bytes_per_link, self.carrier.in_flight(), self.topology.link_names)
        row = MetricRow(epoch=progress.epoch, round=self.cloud.round + 1, time_s=now_s, progress=progress.share,
                        **scores._asdict(), **self.fold.snapshot())
        self.scored = row
        self._sink.metric(row)
        if self._on_progress:
            self._on_progress(row)

    def _stops(self) -> bool:
        """Say whether the stop rule holds."""
        stop, row = self.setup.stop, self.scored
        reached = self.progress.share >= 1 - 1e-9
        reached |= stop.simulated_time_s is not None and self.agenda.now_s >= stop.simulated_time_s
        sent = self.fold.snapshot()
        reached |= stop.total_bytes is not None and sent["bytes_up"] + sent["bytes_down"] >= stop.total_bytes
        target = stop.target_accuracy_percent
        return bool(reached or (target is not None and row.top1_percent >= target))


def parts(payload: Payload, nbytes: float, end_s: float, backward_s: float,
          encode_s: float) -> list[tuple[float, float]]:
    """Return when which bytes of a message may leave: [(ready_s, bytes)].

    A chunk is ready once the backward pass has reached it and the encoder has worked it and all before it off.

    >>> from acesim.seam import Chunk
    >>> parts(Payload(None, 8, (Chunk(.5, .5), Chunk(.5, 1.))), 8., 10., 4., 1.)
    [(8.5, 4.0), (10.5, 4.0)]
    """
    if not payload.chunks:
        return [(end_s + encode_s, nbytes)]
    found: list[tuple[float, float]] = []
    free_s = -math.inf
    for chunk in payload.chunks:
        free_s = max(free_s, end_s - backward_s * (1 - chunk.ready_at)) + encode_s * chunk.share
        found.append((free_s, nbytes * chunk.share))
    return found
