"""One run: a policy played on a fleet and a network.

The protocol is one for all policies of a tree.  A round of a server opens with a model for every idle participant, and
closes when the quorum of those under way has answered; what answers later is late.  A barrier is a quorum of 1, an
asynchronous server a quorum of 0: each answer closes a round and is answered at once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from acesim.compressors import Dense
from acesim.engine.agenda import Agenda
from acesim.engine.churn import Churn
from acesim.engine.cohort import Cohort
from acesim.engine.ledger import Ledger
from acesim.engine.lockstep import Download, Lockstep
from acesim.engine.messages import Carrier, Message, calls
from acesim.engine.plans import check_plan
from acesim.engine.post import Post
from acesim.engine.prints import TrainingPrint
from acesim.engine.recorder import Recorder
from acesim.engine.setup import Outcome, Setup, Sink
from acesim.engine.state import Known, Progress, Server, Worker, known, needed, planned
from acesim.engine.variants import Variants
from acesim.engine.workers import Workers
from acesim.engine.world import World
from acesim.network.jitter import Jitter
from acesim.network.transport import carrying
from acesim.records.rows import MetricRow
from acesim.scenario.errors import PolicyError
from acesim.scenario.streams import stream
from acesim.seam import Compressor, Guide, Guided, Payload, Plan, Remembering, Update, Vector


class Simulation:
    """The actions of a run's servers; what they change is in `world`, `progress`, `agenda`, `carrier` and `cohort`.

    Workers act for themselves (`workers`), and come and go (`churn`); a round that nothing can disturb is played whole
    (`lockstep`).
    """

    def __init__(self, setup: Setup, sink: Sink, on_progress: Callable[[MetricRow], None] | None = None) -> None:
        self.setup, self.policy = setup, setup.policy
        self.world = World(setup)
        self.agenda = Agenda(self._play)
        self.ledger = Ledger(len(setup.topology.links))
        jitter = Jitter(setup.topology.jitter.tolist(), setup.seed)
        self.carrier = Carrier(carrying(setup.topology.links, setup.tcp), self.agenda, self.ledger, jitter)
        self.cohort = Cohort(setup.task, self.policy.local, setup.chunk)
        self.print = TrainingPrint()
        enrolled = self.policy.schedule.enrolled(self.world.tier)
        self.progress = Progress(int(enrolled.sum()), setup.info.total_steps, setup.info.steps_per_epoch)
        self.recorder = Recorder(self.world, self.progress, sink, on_progress)
        self.churn = Churn(self.world, self.agenda, self.carrier, self.cohort, self.recorder, self.progress,
                           self._plan_round, self._close_round, self._finish_round)
        self.post = Post(self.world)
        self.workers = Workers(self.world, self.agenda, self.post, self.carrier, self.cohort, self.recorder,
                               self.progress, self.print, self._finish_round)
        self.variants = Variants(self.world)
        self.lockstep = Lockstep(self.world, self.cohort, self.ledger, self.recorder, self.progress, jitter)
        self.outer = self.policy.aggregator.init(self.world.cloud.model)
        # Asked once: protocols answer slowly.
        aggregator, uplink = self.policy.aggregator, self.policy.uplink
        self.guided = aggregator if isinstance(aggregator, Guided) else None
        self.remembering = uplink if isinstance(uplink, Remembering) else None
        self.down_state = self.policy.downlink.init(setup.info.size)
        self.cloud_encode_s = self.post.work_s(self.world.cloud_row, self.policy.downlink.work("encode"))
        self.cloud_step_s = self.post.work_s(self.world.cloud_row, aggregator.work())
        self.planner: Any = None
        self.world.guide = self._guide()

    # --- the run -------------------------------------------------------------------------------------------------

    def run(self) -> Outcome:
        """Play until the stop rule holds; return what came of it."""
        gc.freeze()  # what is there now stays to the end: to look through it for garbage again and again finds none
        try:
            return self._run()
        finally:
            gc.unfreeze()

    def _run(self) -> Outcome:
        schedule = self.policy.schedule
        rng = stream(self.setup.seed, getattr(schedule, "randomness", "sampling"))
        self.planner = schedule.init(self._view(), rng)
        self._evaluate()
        self.churn.begin()
        self._open_round()
        self.agenda.run()
        cloud = self.world.cloud
        if not self.recorder.over(self.agenda.now_s):
            raise PolicyError(f"the run stands still after round {cloud.round}: nobody computes and nothing is "
                              "under way; the schedule's plan names no idle participant")
        return Outcome(cloud.model, self.recorder.fold.totals(), self.print.hexdigest(cloud.model),
                       self.progress.ideal_s, cloud.round + 1, self.recorder.fold.reported)

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
                self.workers.compute(*arguments)
            case "send":
                self.workers.send(*arguments)
            case "pass_on":
                self._pass_on(*arguments)
            case "admit":
                self._admit(*arguments)
            case "step":
                self._step(*arguments)
            case "finish_round":
                self._finish_round()
            case "turn":
                self.churn.turn(*arguments)
            case "timeout":
                self.churn.timeout(*arguments)

    def _view(self) -> Any:
        return self.world.view(self.agenda.now_s, self.progress.share, self.progress.update, self.progress.step,
                               None if self.world.guide is None else self.world.guide.curvature)

    def _guide(self) -> Guide | None:
        """Return what the cloud's optimizer holds, where its aggregator shows it."""
        return None if self.guided is None else self.guided.guide(self.outer)

    @property
    def moved_bytes_per_link(self) -> NDArray[np.float64]:
        """Bytes that have crossed each link so far, float64 [links], as the network has it."""
        return self.carrier.flows.moved_bytes_per_link + self.lockstep.moved_bytes_per_link

    def _evaluate(self) -> None:
        alone = self.progress.plan is not None and not self.progress.plan.sync_parent
        self.lockstep.hand_over()
        self.ledger.check(self.moved_bytes_per_link, self.carrier.in_flight(), self.setup.topology.link_names)
        self.recorder.evaluate(self.agenda.now_s, alone, self.variants.each(self.progress.plan))

    # --- servers: rounds -----------------------------------------------------------------------------------------

    def _open_round(self) -> None:
        """Begin the next round."""
        self.world.cloud.round += 1
        self._plan_round()
        self.churn.persist()

    def _plan_round(self) -> None:
        """Plan, and send the model to every idle participant (through its region, where there are regions)."""
        cloud, now_s = self.world.cloud, self.agenda.now_s
        plan, self.planner = self.policy.schedule.plan(self._view(), self.planner)
        self.progress.update = self.progress.step = None  # told once: a round that is planned again teaches nothing
        if plan is None or plan is not self.progress.plan:  # a plan that stands was held against it before
            check_plan(plan, cloud.round, self.world.topology.worker_names)
            self.variants.check(plan)
        self.progress.plan, self.progress.slowest_s = plan, 0.0
        self.recorder.plan(now_s, plan.report)
        if plan.sync_parent:
            self._invite(plan)
        else:
            self.workers.go_on_alone(plan)

    def _invite(self, plan: Plan) -> None:
        """Ask every idle participant; a region that has not answered yet is not asked again before it has."""
        world, cloud, chosen = self.world, self.world.cloud, []
        if self.lockstep.fits(plan):
            self._march(plan)
            return
        for row in plan.participants.tolist():
            worker = world.workers[row]
            if worker.free and world.parent(row) not in cloud.under_way:
                worker.phase, worker.round, worker.plan = "receiving", cloud.round, plan
                worker.asked_s = self.agenda.now_s
                world.measured.asked[row] += 1
                chosen.append(row)
        self._ask(cloud, sorted({world.parent(row) for row in chosen}) if world.in_regions else chosen, plan)

    def _march(self, plan: Plan) -> None:
        """Play the whole round of a plan now; the cloud steps when its last answer is decoded."""
        cloud = self.world.cloud
        places: dict[tuple[Known, int | None], int] = {}
        down: list[Download] = []
        which: list[int] = []
        one_model = plan.variants is None
        for row in plan.participants.tolist():
            worker, variant = self.world.workers[row], None if one_model else self.variants.of(row, plan)
            place = places.get((known(worker), variant))
            if place is None:
                place = places[known(worker), variant] = len(down)
                payload, result = self._encode_down(cloud, worker, plan, variant)
                down.append(Download(payload, result, cloud.occupy(self.agenda.now_s, self.cloud_encode_s)))
            which.append(place)
        end_s, answers = self.lockstep.play(plan, self.agenda.now_s, down, which, self.world.guide)
        self.agenda.at(end_s, "step", answers)

    def _ask(self, server: Server, children: list[int], plan: Plan,
             relayed: tuple[Known, Message] | None = None) -> None:
        """Send each child the difference between the model and what it is known to hold; wait for the quorum.

        relayed   (what is known, message): who is known to hold that is sent what has just come, as it came: to
                  decode a lossy difference and encode it again would lose twice
        """
        server.awaited = (server.under_way if plan.late == "apply" else set()) | set(children)
        server.plan, server.under_way = plan, server.under_way | set(children)
        server.need = needed(plan.quorum, len(server.awaited))
        encoded: dict[tuple[Known, int | None], Download] = {}
        if relayed is not None:
            encoded[relayed[0], self.variants.of(server.row, plan)] = Download(
                relayed[1].payload, relayed[1].received, max(self.agenda.now_s, server.busy_until_s))
        for child in children:
            owner, variant = self.world.owner(child), self.variants.of(child, plan)
            held = known(owner)
            if (held, variant) not in encoded:
                work_s = self.post.work_s(server.row, self.policy.downlink.work("encode"))
                encoded[held, variant] = Download(*self._encode_down(server, owner, plan, variant),
                                                  server.occupy(self.agenda.now_s, work_s))
            self._send_down(server, child, encoded[held, variant], plan)
        if len(server.inbox) >= server.need:  # answers that came while the last round was being closed
            self._close_round(server)
        elif self.setup.timeout_s is not None and children:
            self.agenda.at(self.agenda.now_s + self.setup.timeout_s, "timeout", server.row, server.round)

    def _encode_down(self, server: Server, child: Worker | Server, plan: Plan,
                     variant: int | None) -> tuple[Payload, Vector]:
        """Return the payload for a child that follows a variant, and what it will hold then."""
        downlink, model, base = self.policy.downlink, server.followed(variant), self.world.expected(child, plan)
        payload, self.down_state = downlink.encode(model - base, plan.down_level, server.rng, self.down_state)
        return payload, model if downlink.lossless else base + downlink.decode(payload.body, base.size)

    def _send_down(self, server: Server, child: int, down: Download, plan: Plan) -> None:
        message = self.post.addressed(server.row, child, down.payload, self.policy.downlink, server.version)
        message.control, message.result = plan.nbytes, down.result
        self.variants.enclose(message, server, plan)
        message.parts = [(down.ready_s, float(message.nbytes))]  # what is encoded for others later delays it no more
        if not self.world.is_worker(child):
            self.world.servers[child].round = message.round
        self.carrier.send(message)
        if self.world.is_worker(child):
            self.world.workers[child].message = message.key

    def _close_round(self, server: Server) -> None:
        """Aggregate the inbox: the cloud takes a step and opens the next round, a region answers upward."""
        inbox = sorted(server.inbox, key=lambda message: message.sender)
        server.inbox, server.need = [], 0
        for message in inbox:
            if self.world.is_worker(message.sender) and self.world.workers[message.sender].phase == "waiting":
                self.world.workers[message.sender].phase = "idle"
        if server is self.world.cloud:
            self._step(inbox)
        else:
            self._answer(server, inbox)

    def _opened(self, server: Server, inbox: Sequence[Message | Update]) -> tuple[list[Update], Compressor]:
        """Return what an aggregation takes in, and what decodes it; what the server had to remember is decoded here."""
        uplink: Compressor = self.policy.uplink
        payloads = [each.payload for each in inbox]
        if self.remembering is not None:
            payloads, uplink = [Payload(self._recall(server, each, self.remembering), 0) for each in inbox], Dense()
        elif isinstance(inbox[0], Update):
            return cast(list[Update], inbox), uplink  # of a round in one go: all are
        return [Update(each.sender, payload, each.weight, each.version, each.steps, each.variants)
                for each, payload in zip(inbox, payloads, strict=True)], uplink

    def _recall(self, server: Server, message: Message | Update, uplink: Remembering) -> Vector:
        """Decode an update with the memory of what its sender said before."""
        found, server.memories[message.sender] = uplink.receive(message.payload.body, server.model.size,
                                                                server.memories.get(message.sender))
        return found

    def _step(self, inbox: Sequence[Message | Update]) -> None:
        """Take the cloud's aggregation step."""
        cloud, before, now_s = self.world.cloud, self.world.cloud.model, self.agenda.now_s
        cloud.model, self.outer = self.policy.aggregator.step(before, *self._opened(cloud, inbox), self.outer)
        self.variants.step(self.outer)
        self.world.guide = self._guide()
        if not (-np.inf < cloud.model.min() and cloud.model.max() < np.inf):  # NaN fails both
            raise PolicyError(f"round {cloud.round}: the model is no longer finite; lower the learning rate or the "
                              "compression")
        self.progress.update, self.progress.step = self.policy.aggregator.update(self.outer), cloud.model - before
        cloud.version += 1
        self.print.add_round(inbox, cloud.model)
        done_s = cloud.occupy(now_s, self.cloud_step_s)
        self.recorder.aggregation(cloud.row, cloud.round, now_s, done_s)
        self._then(done_s, "finish_round")

    def _finish_round(self) -> None:
        """Count progress, evaluate at epoch marks, and go on unless the run is over."""
        self.progress.ideal_s += self.progress.slowest_s
        over = self.recorder.over(self.agenda.now_s)
        if over or self.recorder.due():
            self._evaluate()
        if over or self.recorder.over(self.agenda.now_s):
            self.agenda.stop()
        else:
            self._open_round()

    def _answer(self, region: Server, inbox: list[Message]) -> None:
        """Sum a region's inbox, encode the sum again and send it up."""
        uplink, levels, now_s = self.policy.uplink, planned(region).region_levels, self.agenda.now_s
        mean, said = self.variants.mean(*self._opened(region, inbox), region.model.size)
        level = None if levels is None else levels[region.row - self.world.workers_count]
        payload, region.encoder = uplink.encode(mean, level, region.rng, region.encoder)
        version = min(each.version for each in inbox)
        message = self.post.addressed(region.row, self.world.cloud.row, payload, uplink, version)
        message.weight, message.batches = sum(each.weight for each in inbox), self.print.of_region(inbox)
        message.steps = sum(each.weight * each.steps for each in inbox) / message.weight
        self.variants.attach(message, said)
        ready_s = region.occupy(now_s, self.post.work_s(region.row, uplink.work("encode"), calls(payload)))
        message.parts = [(ready_s, float(message.nbytes))]
        self.recorder.aggregation(region.row, region.round, now_s, ready_s)
        self.carrier.send(message)

    # --- arrivals ------------------------------------------------------------------------------------------------

    def _arrive(self, message: Message) -> None:
        """Decode a message, and let its receiver act when that is done."""
        now_s, receiver, down = self.agenda.now_s, message.receiver, message.kind == "down"
        self.recorder.message(message, now_s)
        decoding = (self.policy.downlink if down else self.policy.uplink).work("decode")
        work_s = self.post.work_s(receiver, decoding, calls(message.payload))
        if self.world.is_worker(receiver):
            worker = self.world.workers[receiver]
            self.post.learn(message, now_s)
            self.world.hand(worker, message.received)
            worker.version = message.version
            worker.ticket = self._then(now_s + work_s, "compute", receiver) or worker.ticket
            return
        done_s = self.world.servers[receiver].occupy(now_s, work_s)
        if not down:
            self.post.learn(message, now_s)
        self._then(done_s, "pass_on" if down else "admit", message)

    def _then(self, time_s: float, action: str, *arguments: Any) -> int | None:
        """Act at a time, and return the ticket; what takes no time needs no detour over the agenda."""
        if time_s <= self.agenda.now_s:
            self._play(action, arguments)
            return None
        return self.agenda.at(time_s, action, *arguments)

    def _pass_on(self, message: Message) -> None:
        """Let a region hand the new model to the participants that wait for it."""
        region, workers = self.world.servers[message.receiver], self.world.workers
        held, region.version = known(region), message.version
        self.world.hand(region, message.received)
        region.models = message.models
        waiting = [row for row in region.children if workers[row].phase == "receiving" and row not in region.under_way]
        if waiting:
            self._ask(region, waiting, planned(workers[waiting[0]]), (held, message))
        else:  # all who waited for it have gone
            self.churn.forget(self.world.cloud, region.row)

    def _admit(self, message: Message) -> None:
        """Take a decoded answer into the inbox; close the round when the quorum is there."""
        server, sender = self.world.servers[message.receiver], message.sender
        server.under_way.discard(sender)
        late, rule = message.round < server.round or not server.need, planned(server).late
        if self.world.is_worker(sender):
            # In a region's inbox an answer may lie until the region is asked again; its sender need not.
            self.world.workers[sender].phase = "waiting" if server is self.world.cloud else "idle"
            self.world.measured.heard[sender] = server.round
            self.world.measured.answered[sender] += not late
        if late and rule != "apply":
            self._set_aside(message, rule)
        else:
            server.inbox.append(message)
        if server.need and len(server.inbox) >= server.need:
            self._close_round(server)
        cloud = self.world.cloud
        if cloud.need and not cloud.under_way:  # all whom the plan names were busy: one of them may be free now
            self._invite(planned(cloud))

    def _set_aside(self, message: Message, rule: str) -> None:
        """Drop a late update, or give what it carried back to its sender's residual."""
        world, sender = self.world, message.sender
        if world.is_worker(sender):
            world.workers[sender].phase = "idle"
        uplink = self.policy.uplink
        if rule == "cancel":
            if self.remembering is not None:  # it was said, though nobody acts on it
                self._recall(world.servers[message.receiver], message, self.remembering)
            return
        owner, give_back = world.owner(sender), getattr(uplink, "give_back", None)
        if give_back is None:
            raise PolicyError('late = "to_residual": the uplink keeps no residual; wrap it in ErrorFeedback, or choose '
                              '"apply" or "cancel"')
        owner.encoder = give_back(message.payload.body, owner.model.size, owner.encoder)
