"""Time per worker, mathematics per cohort.

A local update depends only on its anchor, data and state, all fixed when computing starts; the clock only delays its
visibility.  So nothing is computed until the first of the workers under way is due, and then a chunk of them at once.
Which workers share a chunk follows from simulated state alone, and no worker's numbers depend on its chunk mates.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acesim.learning.flat import together
from acesim.learning.local import stack, unstack
from acesim.seam import Foreseeing, Guide, LocalTraining, Vector, Walking


class Job(NamedTuple):
    """A local training under way: everything its result depends on."""

    worker: int
    anchor: Vector
    first_step: int
    steps: int
    state: Any
    guide: Guide | None = None


class Result(NamedTuple):
    """update [P] = anchor - result; loss: mean over steps; batches: fingerprint of the data used; walked: |theta_k -
    anchor|, None: the update's own length."""

    update: Vector
    loss: float
    state: Any
    batches: int
    walked: float | None = None


class Cohort:
    """The local trainings under way and the results not yet fetched.

    task    gives batches and gradients (acesim.learning.tasks)
    local   the policy's local training
    chunk   workers evaluated together; 1 is the reference backend; None: as many as is fast
    """

    def __init__(self, task: Any, local: LocalTraining, chunk: int | None = None) -> None:
        self._task, self._local, self._chunk = task, local, chunk or together(task.size)
        self._foreseeing = local if isinstance(local, Foreseeing) else None  # asked once: protocols answer slowly
        self._walked = local.walked if isinstance(local, Walking) else None
        self.jobs: dict[int, Job] = {}
        self.results: dict[int, Result] = {}

    def start(self, job: Job) -> None:
        """Note that a worker has begun."""
        self.jobs[job.worker] = job

    def drop(self, worker: int) -> None:
        """Forget a training that will never be fetched."""
        self.jobs.pop(worker, None)
        self.results.pop(worker, None)

    def fetch(self, worker: int) -> Result:
        """Return a worker's result, once; computes it, with others of its kind, if nobody has yet."""
        if worker not in self.results:
            self._evaluate(self._mates(self.jobs[worker]))
        return self.results.pop(worker)

    def _mates(self, first: Job) -> list[Job]:
        """Return the job and the next to have begun that take as many steps: from its own anchor, if there are any."""
        alike = [job for job in self.jobs.values()
                 if job.steps == first.steps and job.guide is first.guide and job is not first]
        same = [job for job in alike if job.anchor is first.anchor]
        return [first, *(same or alike)[: self._chunk - 1]]

    def _evaluate(self, jobs: list[Job]) -> None:
        workers = [job.worker for job in jobs]
        taken = 0
        buffer: Vector | None = None  # each step's gradients may overwrite those of the one before
        losses: list[NDArray[np.float64]] = []
        prints = [0] * len(jobs)

        def gradient(parameters: Vector) -> tuple[Vector, NDArray[np.float64]]:
            nonlocal taken, buffer
            batch = self._task.batches(workers, [job.first_step + taken for job in jobs])
            taken += 1
            buffer, loss = self._task.gradient(parameters, batch, buffer)
            losses.append(loss)
            for row in range(len(jobs)):
                for field in batch:  # a batch is a tuple of stacks, a row a worker
                    prints[row] = zlib.crc32(np.ascontiguousarray(field[row]).data, prints[row])
            return buffer, loss

        anchor = jobs[0].anchor
        if any(job.anchor is not anchor for job in jobs):
            anchor = np.stack([job.anchor for job in jobs])
        guide = jobs[0].guide
        local = self._foreseeing.along(guide) if guide is not None and self._foreseeing is not None else self._local
        updates, state = local.run(anchor, jobs[0].steps, gradient, stack([job.state for job in jobs]))
        mean = np.mean(losses, axis=0)
        for row, (job, own) in enumerate(zip(jobs, unstack(state, len(jobs)), strict=True)):
            walked = None if self._walked is None else float(self._walked(own))
            self.results[job.worker] = Result(updates[row], float(mean[row]), own, prints[row], walked)
            del self.jobs[job.worker]
