"""A stand-in for the engine: writes a run in a moment, so that what is around it can be tested."""

import numpy as np
import pytest

from acesim.records.fold import Fold
from acesim.records.manifest import Manifest, digest, final_figures
from acesim.records.orders import identity
from acesim.records.rows import Event, MetricRow
from acesim.records.store import RunWriter
from acesim.scenario.errors import PolicyError


def played(order):
    """Write a run whose figures follow from its policy and seed; `fedavg` fails where the scenario is named broken."""
    writer = RunWriter(order.folder)
    if order.policy.name == "fedavg" and order.scenario.name == "broken":
        raise PolicyError("round 3: the model is no longer finite")
    if order.policy.name == "top-k" and order.scenario.name == "broken":
        raise ZeroDivisionError("a slip")
    fold = Fold(80, 5)
    share = 1.0 if order.policy.name == "full-sync" else 0.4
    for epoch in range(9):
        event = Event("upload", epoch, 0, 85, 10.0 * epoch, 10.0 * epoch + 5, values_bytes=int(1e9 * share), links=3)
        writer.event(event)
        fold.add(event)
        top1 = 50 * (1 - 0.5 ** epoch) + order.seed
        writer.metric(MetricRow(epoch, epoch, 100.0 * epoch * share, epoch / 8, loss_nats=4 - top1 / 20,
                                top1_percent=top1, perplexity=2.0, cloud_loss_nats=1.0, edge_loss_nats=1.0,
                                cloud_top1_percent=top1, edge_top1_percent=top1, scored=9, **fold.snapshot()))
    model = np.full(4, order.seed, np.float32)
    page = {**identity(order), **final_figures(writer.metrics, fold.totals()), "ideal_s": 500.0,
            "digest": digest(writer.metrics, fold.totals(), model)}
    writer.close(Manifest(status="done", **page).document(), model)


@pytest.fixture
def fake():
    """A runner and the list of what it was asked for."""
    asked = []

    def runner(order):
        asked.append((order.policy.label, order.seed))
        played(order)

    runner.asked = asked
    return runner
