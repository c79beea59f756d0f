"""What workers do: compute, and send what came of it, or keep it."""

from __future__ import annotations

from collections.abc import Callable

from acesim.engine.agenda import Agenda
from acesim.engine.cohort import Cohort, Job, Result
from acesim.engine.messages import Carrier, calls, parts
from acesim.engine.post import Post
from acesim.engine.prints import TrainingPrint
from acesim.engine.recorder import Recorder
from acesim.engine.state import Progress, average, planned
from acesim.engine.variants import speaks
from acesim.engine.world import World
from acesim.fleet.fleet import FORWARD_SHARE
from acesim.seam import Plan


class Workers:
    """The actions of workers, each under the plan it was asked under.

    finish    ends a round of workers that go on alone
    """

    def __init__(self, world: World, agenda: Agenda, post: Post, carrier: Carrier, cohort: Cohort, recorder: Recorder,
                 progress: Progress, training: TrainingPrint, finish: Callable[[], None]) -> None:
        self._world, self._agenda, self._post, self._carrier, self._cohort = world, agenda, post, carrier, cohort
        self._recorder, self._progress, self._print, self._finish = recorder, progress, training, finish
        self._uplink = world.policy.uplink

    def compute(self, row: int) -> None:
        """Begin a worker's local steps."""
        world, worker, now_s = self._world, self._world.workers[row], self._agenda.now_s
        plan = planned(worker)
        steps = int(plan.local_steps[row])
        times_s = world.fleet.compute_s(row, worker.steps, steps, now_s)
        worker.phase, worker.started_s = "computing", now_s
        known = world.guide if worker.version == world.cloud.version else None
        self._cohort.start(Job(row, worker.model, worker.steps, steps, worker.local, known))
        # One after the other, as `spans_s` adds them: numpy sums more than seven in another order.
        end_s, backward_s = now_s + float(times_s.cumsum()[-1]), float(times_s[-1]) * (1 - FORWARD_SHARE)
        early = self._uplink.chunks and plan.sync_parent
        worker.ticket = self._agenda.at(end_s - backward_s if early else end_s, "send", row, end_s, backward_s, steps)

    def send(self, row: int, end_s: float, backward_s: float, steps: int) -> None:
        """Fetch a worker's result, encode it, and send its parts as they become ready."""
        world, worker, uplink = self._world, self._world.workers[row], self._uplink
        plan = planned(worker)
        result = self._cohort.fetch(row)
        self._note(row, end_s, steps, result)
        if not plan.sync_parent:
            self._keep(row, result)
            return
        level = None if plan.levels is None else plan.levels[row]
        payload, worker.encoder = uplink.encode(result.update, level, worker.rng, worker.encoder)
        message = self._post.addressed(row, world.parent(row), payload, uplink, worker.version)
        message.weight, message.batches, message.steps = float(plan.weights[row]), result.batches, steps
        message.control, message.variants = 4 * plan.sketch, speaks(plan, row)
        work, count = uplink.work("encode"), calls(payload)
        encode_s, launch_s = self._post.work_s(row, work, 0), world.fleet.launch_s(row, work)
        message.parts = parts(payload, float(message.nbytes - message.header), message.header // count, end_s,
                              backward_s, encode_s, launch_s)
        worker.phase = "sending"
        self._recorder.encoding(row, end_s, encode_s + count * launch_s)
        self._carrier.send(message)
        worker.message = message.key

    def _note(self, row: int, end_s: float, steps: int, result: Result) -> None:
        """Count a worker's local steps."""
        worker, measured, progress = self._world.workers[row], self._world.measured, self._progress
        self._recorder.computation(row, end_s, steps, result.loss)
        span_s = end_s - worker.started_s
        worker.ended_s, worker.local, worker.steps = end_s, result.state, worker.steps + steps
        progress.steps += steps
        progress.slowest_s = max(progress.slowest_s, span_s)
        measured.compute_s[row] = average(measured.compute_s[row], span_s / steps)
        self._world.note_update(row, steps, result, planned(worker).sketch)

    def go_on_alone(self, plan: Plan) -> None:
        """Let idle participants train on from their own models; the round ends when all of them have."""
        world, cloud = self._world, self._world.cloud
        chosen = [row for row in plan.participants.tolist() if world.workers[row].free]
        cloud.plan, cloud.need = plan, max(1, len(chosen))
        cloud.under_way, cloud.awaited = set(chosen), set(chosen)
        for row in chosen:
            world.workers[row].round, world.workers[row].plan = cloud.round, plan
            self.compute(row)

    def _keep(self, row: int, result: Result) -> None:
        """Let a worker that goes alone take its own result for its model."""
        worker, cloud = self._world.workers[row], self._world.cloud
        self._world.hand(worker, worker.model - result.update)
        worker.phase = "idle"
        self._print.add_alone(row, result)
        cloud.under_way.discard(row)
        if not cloud.under_way:
            cloud.need = 0
            self._finish()
