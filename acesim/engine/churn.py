"""Workers that come and go: what becomes of what they were doing, and of the rounds that waited for them.

A server sees at once that a connection broke.  Its quorum is a share of those it waits for that are still there, so
that a barrier never waits for the dead; a round for which nobody is left is planned anew.  Workers that are away are
not asked, whatever a plan says: a schedule sees no more than `View.participation`.

What a worker holds outlives its crash (model, optimizer, residual); what it was computing is computed again, on the
same data, when it is asked again; an upload that was cut short goes back to the residual, where the encoder keeps one.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from acesim.engine.agenda import Agenda
from acesim.engine.cohort import Cohort
from acesim.engine.messages import Carrier
from acesim.engine.recorder import Recorder
from acesim.engine.state import Progress, Server, needed, planned
from acesim.engine.world import World
from acesim.scenario.errors import PolicyError

TRIES = 20  # plans made one after another while some worker is free but a plan names only those who are not
FRUITLESS = 10_000  # plans that reached nobody, or losses before anybody's next step, in a row: nothing will come of it


class Churn:
    """The actions of coming and going.

    plan      plans the cloud's present round
    close     closes a server's round
    finish    ends a round of workers that go on alone
    """

    def __init__(self, world: World, agenda: Agenda, carrier: Carrier, cohort: Cohort, recorder: Recorder,
                 progress: Progress, plan: Callable[[], None], close: Callable[[Server], None],
                 finish: Callable[[], None]) -> None:
        self._world, self._agenda, self._carrier, self._cohort = world, agenda, carrier, cohort
        self._progress, self._losses, self._steps = progress, 0, 0
        self._recorder, self._plan, self._close, self._finish = recorder, plan, close, finish
        self._presence = world.fleet.presence
        self._fruitless = 0

    def begin(self) -> None:
        """Say who is there at the start, and enter the first change of everybody."""
        for row, presence in enumerate(self._presence):
            if presence is not None:
                state = presence.at(0.0)
                self._world.workers[row].there = state.there
                self._expect(row, state.until_s)

    def _expect(self, row: int, time_s: float) -> None:
        if time_s < math.inf:
            self._agenda.at(time_s, "turn", row)

    def turn(self, row: int) -> None:
        """Let a worker come, go or crash, as its presence has it now."""
        presence, worker, now_s = self._presence[row], self._world.workers[row], self._agenda.now_s
        if presence is None:
            return
        state, was = presence.at(now_s), worker.there
        worker.there = state.there
        self._expect(row, state.until_s)
        if was != state.there:
            self._recorder.presence(row, now_s, "join" if state.there else "crash" if state.broken else "leave")
        if state.broken or not (state.there or presence.finishes):
            self._drop(row)
        self.persist()

    # --- rounds that wait for nobody -------------------------------------------------------------------------------

    def _nobody(self) -> bool:
        """Say whether the cloud's round is open, but waits for nobody."""
        cloud = self._world.cloud
        return bool(cloud.need and not cloud.awaited and not cloud.inbox)

    def persist(self) -> None:
        """Plan again while a round has reached nobody, though some worker is free; else wait for one to come."""
        if not self._presence:
            return
        for _ in range(TRIES):
            if not self._nobody():
                self._fruitless = 0
                return
            if not any(worker.free for worker in self._world.workers):
                self._check_hope()
                return
            self._fruitless += 1
            if self._fruitless > FRUITLESS:
                raise PolicyError(f"round {self._world.cloud.round}: {FRUITLESS} plans in a row name only workers that "
                                  "are away; let the schedule ask others, or the workers be there more often")
            self._plan()

    def _check_hope(self) -> None:
        """Refuse to wait where everybody has left for good."""
        now_s = self._agenda.now_s
        for presence in self._presence:
            if presence is None or (state := presence.at(now_s)).there or state.until_s < math.inf:
                return
        raise PolicyError(f"after {now_s:.0f} s every worker has left for good, and the run is not over; let some stay "
                          "(workers.*.availability.leave), or stop it earlier (stop.simulated_time)")

    # --- what a worker leaves behind -------------------------------------------------------------------------------

    def _drop(self, row: int) -> None:
        """Give up what a worker was doing; what has left it already goes on without it."""
        worker, now_s = self._world.workers[row], self._agenda.now_s
        if worker.phase == "computing":
            self._cohort.drop(row)
            self._recorder.lost_work(row, now_s)
        elif worker.phase == "sending":
            message = self._carrier.messages.get(worker.message)
            if message is None or not math.isnan(message.sent_s):
                return
            self._recorder.lost_message(message, self._carrier.drop(message.key), now_s)
            self._give_back(row, message.payload.body)
        elif worker.phase == "receiving":
            message = self._carrier.messages.get(worker.message)
            if message is not None:
                self._recorder.lost_message(message, self._carrier.drop(message.key), now_s)
        else:
            return
        self._check_use(row)
        self._agenda.cancel(worker.ticket)
        worker.phase = "idle"
        self.forget(self._world.servers[self._world.parent(row)], row)

    def _check_use(self, row: int) -> None:
        """Refuse to lose work for ever: workers that are never there for as long as a step takes."""
        if self._steps != self._progress.steps:
            self._steps, self._losses = self._progress.steps, 0
        self._losses += 1
        if self._losses > FRUITLESS:
            raise PolicyError(
                f"round {self._world.cloud.round}: {FRUITLESS} downloads and computations in a row were cut short, "
                f"the last of worker {row}, and no step was done; let the workers be there for longer (workers.*."
                "availability.present, workers.*.faults.every), or end a step before they go (on_leave: finish)")

    def _give_back(self, row: int, body: object) -> None:
        worker, give_back = self._world.workers[row], getattr(self._world.policy.uplink, "give_back", None)
        if give_back is not None:
            worker.encoder = give_back(body, worker.model.size, worker.encoder)

    def forget(self, server: Server, child: int) -> None:
        """Let a server wait for one child less."""
        server.under_way.discard(child)
        if not server.need:
            return
        if not planned(server).sync_parent:
            if not server.under_way:
                self._finish()
            return
        if child not in server.awaited:
            return
        server.awaited.discard(child)
        server.need = needed(planned(server).quorum, len(server.awaited))
        if server.inbox and len(server.inbox) >= (server.need if server.awaited else 1):
            self._close(server)
        elif not server.awaited and server is not self._world.cloud:
            server.need = 0
            self.forget(self._world.cloud, server.row)
        else:
            self.persist()

    def timeout(self, row: int, round_number: int) -> None:
        """Let a server go on with the answers it has, or with the first that comes."""
        server = self._world.servers[row]
        if server.need and server.round == round_number:
            server.need = 1
            if server.inbox:
                self._close(server)
