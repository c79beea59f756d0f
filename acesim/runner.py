"""One run in one process: its world is built, played, and written into its folder.

Processes that compute import this and nothing of what looks at results: pandas alone costs a third of a second and
40 MB in each of them.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

from acesim import fleet, learning
from acesim import policies as recipes
from acesim.engine import Outcome, Setup, simulate
from acesim.network import tcp_of
from acesim.network import topology as networks
from acesim.network.cards import in_words
from acesim.records.manifest import Manifest, digest, final_figures, host_figures, plain
from acesim.records.orders import Order, identity
from acesim.records.resident import forget_peak
from acesim.records.rows import MetricRow
from acesim.records.store import FAILURE, MANIFEST, PROGRESS, RunWriter, clear, write_json
from acesim.scenario import Scenario
from acesim.scenario.errors import AcesimError

Runner = Callable[[Order], None]


def prepare(order: Order) -> Setup:
    """Build the world of a run: its data, network and fleet from the seed, its policy from the recipe."""
    scenario, spec = order.scenario, order.policy
    task = learning.build(scenario.task, _tiers(scenario), order.seed, order.plugins)
    info = recipes.model_info(scenario, task)
    policy = recipes.build(spec.name, info, spec.parameters, order.plugins)
    machines = fleet.build(scenario, info.nominal_size, order.seed)
    cards = [device.network_bytes_per_s for device in machines.devices]
    topology = networks.build(scenario.workers, scenario.network, order.seed, cards)
    return Setup(policy, info, task, topology, machines, scenario.stop, order.seed, tcp=tcp_of(scenario.network),
                 timeout_s=scenario.servers.timeout_s, evaluate_every_rounds=scenario.evaluate_every_rounds)


def narrowed_by_cards(scenario: Scenario) -> list[str]:
    """Say of which machines the network card is slower than their lines, with the scenario's first seed."""
    size, seed = recipes.sketch(scenario).nominal_size, scenario.seeds[0]
    cards = [device.network_bytes_per_s for device in fleet.build(scenario, size, seed).devices]
    return list(in_words(networks.build(scenario.workers, scenario.network, seed, cards).narrowed))


def run_one(order: Order) -> None:
    """Play one run and leave its folder complete."""
    started_s = time.perf_counter()
    setup = prepare(order)
    memory = fleet.memory(order.scenario, setup.policy, setup.info.nominal_size)  # what does not fit ends here
    writer = RunWriter(order.folder)

    def keep_progress(row: MetricRow) -> None:
        write_json(order.folder / PROGRESS, plain(row._asdict()))

    outcome = simulate(setup, writer, keep_progress)
    page = {**identity(order), **_figures(setup, memory, outcome, writer.metrics), **_costs(order.scenario, outcome),
            **host_figures(started_s)}
    writer.close(Manifest(status="done", **page).document(), outcome.model)


def _figures(setup: Setup, memory: fleet.Memory, outcome: Outcome, metrics: Sequence[MetricRow]) -> dict[str, Any]:
    info, size = setup.info, setup.info.nominal_size
    pools = threadpool_info()
    up, down = (rates.tolist() for rates in (setup.topology.up_mean_bytes_per_s, setup.topology.down_mean_bytes_per_s))
    return {
        **final_figures(metrics, outcome.totals),
        "digest": digest(metrics, outcome.totals, outcome.model), "training_digest": outcome.training_digest,
        "rounds": outcome.rounds, "ideal_s": outcome.ideal_s,
        "rho": fleet.dense_round_rho(setup.fleet, up, down, 4.0 * size),
        "step_s": float(setup.fleet.step_s.mean()), "remarks": setup.policy.remarks,
        "reported": outcome.reported,
        "worker_gb": max(memory.workers.values()) / 1e9, "server_gb": max(memory.region, memory.cloud) / 1e9,
        "parameters": info.size, "nominal_parameters": size,
        "corpus_fingerprint": setup.task.fingerprint, "yardsticks": setup.task.yardsticks(),
        "blas_threads": max((int(pool["num_threads"]) for pool in pools), default=None),
        "blas_kernels": ", ".join(sorted({pool["architecture"] for pool in pools if "architecture" in pool})) or None,
    }


def _costs(scenario: Scenario, outcome: Outcome) -> dict[str, float]:
    return {"egress_cost": fleet.price_list(scenario.prices).cost(outcome.totals["egress_bytes"]),
            "carbon_kg": outcome.totals["energy_joules"] * scenario.grid.intensity_kg_per_joule}


def _tiers(scenario: Scenario) -> list[str]:
    return [group.tier for group in scenario.workers for _ in range(group.count)]


def attempt(order: Order, runner: Runner, alone: bool) -> None:
    """Compute one order; what goes wrong is written into its manifest, so that the other runs go on.

    alone   in the user's own process, where Ctrl-C belongs; in a child it is the parent's to handle
    """
    if not alone:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    forget_peak()
    try:
        with threadpool_limits(1):
            runner(order)
        (order.folder / PROGRESS).unlink(missing_ok=True)
    except Exception as error:  # noqa: BLE001  whatever a run raises is that run's failure, recorded in full
        _record_failure(order, error)


def _record_failure(order: Order, error: Exception) -> None:
    clear(order.folder)
    order.folder.mkdir(parents=True, exist_ok=True)
    text = str(error) if isinstance(error, AcesimError) else f"{type(error).__name__}: {error} (see {FAILURE})"
    if not isinstance(error, AcesimError):
        (order.folder / FAILURE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    page = Manifest(status="failed", error=text, **identity(order))
    write_json(order.folder / MANIFEST, page.document())
