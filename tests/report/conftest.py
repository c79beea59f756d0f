"""Made-up runs with curves of the right shape, written as real runs are."""

from math import exp, nan

import numpy as np
import pytest

from acesim.records.fold import Fold
from acesim.records.manifest import Manifest, digest, final_figures
from acesim.records.read import load
from acesim.records.rows import Event, MetricRow
from acesim.records.store import RunWriter, write_json

POLICIES = {  # final top-1 in %, epochs to approach it, GB up and down a round, seconds a round, rounds an epoch
    "full-sync": (44.7, 8.0, 113.5, 113.5, 1800.0, 24),
    "top-k": (44.4, 9.0, 68.1, 113.5, 1500.0, 24),
    "fedavg": (39.2, 9.5, 113.5, 113.5, 1900.0, 12),
    "ace-sync": (44.6, 8.2, 31.0, 113.5, 1100.0, 24),
    "local-only": (22.0, 5.0, 0.0, 0.0, 400.0, 1),
}


def curve(label, seed, epochs):
    """Return metric rows of one run."""
    final, pace, up, down, round_s, rounds = POLICIES[label]
    noise = np.random.default_rng([seed, sorted(POLICIES).index(label)]).normal(0, 0.15, epochs + 1)
    final += 0.3 * (seed - 1)
    for epoch in range(epochs + 1):
        top1 = 2 + (final - 2) * (1 - exp(-epoch / pace)) / (1 - exp(-epochs / pace)) + noise[epoch] * (epoch > 0)
        loss = 4.56 - 2.6 * top1 / 44.7
        done = epoch * rounds
        yield MetricRow(epoch=float(epoch), round=done, time_s=done * round_s * (1 + 0.02 * seed),
                        progress=epoch / epochs, local_steps=epoch * 24 * 80, loss_nats=loss, top1_percent=top1,
                        perplexity=exp(loss), cloud_loss_nats=loss, edge_loss_nats=loss, cloud_top1_percent=top1,
                        edge_top1_percent=top1, scored=40_000, bytes_up=int(done * up * 1e9),
                        bytes_down=int(done * down * 1e9), region_bytes_up=0, region_bytes_down=0,
                        link_bytes=int(3 * done * (up + down) * 1e9), egress_bytes=int(0.8 * done * down * 1e9),
                        energy_joules=done * 4e5, sync_delay_s=round_s / 2, drift=nan if epoch == 0 else 0.01)


def write_run(folder, label, seed, epochs=20, name="table1", **changed):
    """Write one run."""
    writer = RunWriter(folder)
    writer.event(Event("evaluate", 0, 85, -1, 0.0, 0.0))
    rows = list(curve(label, seed, epochs))
    for row in rows:
        writer.metric(row)
    totals = Fold(80, 5).totals() | {key: getattr(rows[-1], key) for key in Fold(80, 5).snapshot()}
    weights = np.full(3, seed, np.float32)
    page = {"scenario": {"name": name}, "policy": {"name": label, "parameters": {}}, "label": label, "seed": seed,
            "status": "done", "scenario_hash": "a1", "digest": digest(rows, totals, weights),
            "ideal_s": epochs * 24 * 900.0, "rho": {"cloud": 0.02, "xavier": 1.9, "cpu": 0.4}, "worker_gb": 5.68,
            "server_gb": 5.6, "parameters": 29_000, "nominal_parameters": 354_823_168,
            "yardsticks": {"bigram_nats": 2.45, "bigram_top1_percent": 29.0, "trigram_nats": 2.11},
            **final_figures(rows, totals), **changed}
    writer.close(Manifest(**page).document(), weights)


def write_study(folder, labels=tuple(POLICIES), seeds=(0, 1, 2), **options):
    """Write a study of several runs; return its folder."""
    for seed in seeds:
        for label in labels:
            write_run(folder / label / f"seed-{seed}", label, seed, **options)
    write_json(folder / "study.json", {"runs": [{"folder": f"{label}/seed-{seed}"} for label in labels
                                                for seed in seeds]})
    return folder


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory):
    return write_study(tmp_path_factory.mktemp("results") / "table1")


@pytest.fixture(scope="session")
def records(study_folder):
    return load(study_folder)


@pytest.fixture(scope="session")
def studies():
    """The function that writes a study."""
    return write_study
