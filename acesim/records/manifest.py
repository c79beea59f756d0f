"""What a run was and what came of it, on one page, and the digest that says whether two runs are the same."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from acesim.records.resident import peak_rss_bytes
from acesim.records.rows import CUMULATIVE, ONLY_IF_ANY

STATUSES = ("done", "interrupted", "failed")
LIBRARIES = ("numpy", "scipy", "pandas", "pyarrow", "simpy", "pydantic")


@dataclass(frozen=True)
class Manifest:
    """manifest.json; what does not apply to a run, or was not reached, is null.

    scenario         the whole scenario, all defaults filled in (of this run: seed and policy are beside it)
    scenario_hash    sha256 of what all runs of a study share: the scenario without seeds and policies
    files            sha256 of the files that the scenario names, by path
    policy           {"name": ..., "parameters": {...}}
    code             of the acesim that ran: version and hash of its source
    digest           sha256 over metric rows, ledger totals and final weights: see `digest`
    training_digest  sha256 over batches, payloads and weights, without any time
    top1_percent, perplexity, loss_nats   of the last evaluation, at the scale that is trained
    *_bytes, bytes_*, simulated_s, energy_joules   of the nominal workload
    rho              per worker group: communication time over computation time of a dense round
    egress_cost      in the scenario's currency, of all that left the cloud for the edge; carbon_kg: of all energy
    ideal_s          simulated time of this run if communication took none
    step_s           time of a nominal local step, mean over workers
    remarks          what the policy's recipe has to say of what it made of its parameters
    reported         of every figure the schedule names, as rank_correlation: its mean over the run, and the last
    worker_gb, server_gb   memory the policy needs, the largest of each, nominal
    yardsticks       nats per symbol (and top-1) of counted models on the same held-out windows
    parameters, nominal_parameters   P and P_nominal
    wall_s, peak_rss_bytes, platform, versions, blas_threads, blas_kernels
                     of the host, and of this run in it (its process keeps what was imported); never part of a digest
    """

    scenario: Mapping[str, Any]
    policy: Mapping[str, Any]
    label: str
    seed: int
    status: str
    scenario_hash: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    error: str | None = None
    digest: str | None = None
    training_digest: str | None = None
    top1_percent: float | None = None
    perplexity: float | None = None
    loss_nats: float | None = None
    scored: int | None = None
    epochs: float | None = None
    rounds: int | None = None
    simulated_s: float | None = None
    ideal_s: float | None = None
    local_steps: int | None = None
    step_s: float | None = None
    bytes_up: int | None = None
    bytes_down: int | None = None
    region_bytes_up: int | None = None
    region_bytes_down: int | None = None
    link_bytes: int | None = None
    egress_bytes: int | None = None
    retransmitted_bytes: int | None = None
    egress_cost: float | None = None
    carbon_kg: float | None = None
    energy_joules: float | None = None
    sync_delay_s: float | None = None
    drift: float | None = None
    rho: Mapping[str, float] = field(default_factory=dict)
    worker_gb: float | None = None
    server_gb: float | None = None
    parameters: int | None = None
    nominal_parameters: int | None = None
    corpus_fingerprint: str | None = None
    yardsticks: Mapping[str, float] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    reported: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    totals: Mapping[str, int | float] = field(default_factory=dict)
    wall_s: float | None = None
    peak_rss_bytes: int | None = None
    blas_threads: int | None = None
    blas_kernels: str | None = None
    platform: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"manifest.status = {self.status}: must be one of {', '.join(STATUSES)}")

    def document(self) -> dict[str, Any]:
        """Return the manifest as plain JSON values; numbers that are not finite become null."""
        return {item.name: plain(getattr(self, item.name)) for item in dataclasses.fields(self)}


def plain(value: Any) -> Any:
    """Turn numpy scalars, tuples and mappings into what JSON knows.

    >>> plain({"rho": np.float64(2.5), "drift": float("nan"), "seeds": (np.int64(1), 2)})
    {'rho': 2.5, 'drift': None, 'seeds': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not isfinite(value) else value


def final_figures(metrics: Iterable[Any], totals: Mapping[str, int | float]) -> dict[str, Any]:
    """Return the manifest's fields that the metric rows and the ledger already say.

    Scores, time and epochs are those of the last row; counts are the ledger's, so they include what was still
    sent after the last evaluation.
    """
    rows = list(metrics)
    found: dict[str, Any] = {name: totals[name] for name in CUMULATIVE if name in totals}
    found["totals"] = dict(totals)
    if rows:
        last = rows[-1]
        found |= {name: getattr(last, name) for name in ("top1_percent", "perplexity", "loss_nats", "scored")}
        found |= {"epochs": last.epoch, "rounds": last.round, "simulated_s": last.time_s}
    return found


def digest(metrics: Iterable[Any], totals: Mapping[str, int | float], model: np.ndarray) -> str:
    """Return the sha256 of a run: two runs are the same where it is equal.

    Exact: floats enter by their bits (`float.hex`), weights by their bytes in little-endian order; nothing of
    the host (time, path, number of processes) enters.

    metrics   MetricRow tuples
    totals    of the ledger, by name; the order does not matter
    model     the final weights

    >>> row, weights = [(0.5, 1)], np.zeros(2, np.float32)
    >>> digest(row, {"bytes_up": 3}, weights) == digest(row, {"bytes_up": 3}, weights)
    True
    >>> digest(row, {"bytes_up": 3}, weights) == digest(row, {"bytes_up": 4}, weights)
    False
    """
    found = hashlib.sha256()
    for row in metrics:
        found.update((",".join(exact(value) for value in getattr(row, "known", row)) + "\n").encode())
    for name in sorted(totals):
        if totals[name] or name not in ONLY_IF_ANY:
            found.update(f"{name}={exact(totals[name])}\n".encode())
    weights = np.ascontiguousarray(model)
    found.update(f"{weights.dtype.str[1:]}{weights.shape}\n".encode())
    found.update(weights.astype(weights.dtype.newbyteorder("<"), copy=False).tobytes())
    return found.hexdigest()


def exact(value: float | int | str) -> str:
    """Spell a number so that no bit is lost.

    >>> exact(0.1), exact(3), exact(float("nan"))
    ('0x1.999999999999ap-4', '3', 'nan')
    """
    if isinstance(value, np.generic):
        value = value.item()
    return value.hex() if isinstance(value, float) else str(value)


def code_version(plugins: Iterable[str | Path] = ()) -> str:
    """Return the version of acesim and a hash of its source: results of other code are not ours.

    plugins   files whose source counts too: its hash follows behind a slash

    >>> code_version() == code_version()
    True
    """
    package = Path(__file__).resolve().parents[1]
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(path.relative_to(package).as_posix().encode() + b"\0")
        found.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    code = f"{acesim_version()}+{found.hexdigest()[:12]}"
    others = b"\0".join(Path(plugin).read_bytes() for plugin in plugins)
    return f"{code}/{hashlib.sha256(others).hexdigest()[:12]}" if others else code


def acesim_version() -> str:
    """Return the installed version, or "0+checkout" where acesim runs uninstalled."""
    try:
        return version("acesim")
    except PackageNotFoundError:
        return "0+checkout"


def host_figures(started_s: float) -> dict[str, Any]:
    """Return the manifest's fields about the machine.

    started_s   `time.perf_counter()` at the start of the run
    """
    versions = {"acesim": acesim_version(), "python": platform.python_version()}
    return {"wall_s": time.perf_counter() - started_s, "peak_rss_bytes": peak_rss_bytes(),
            "platform": f"{platform.system()} {platform.machine()}",
            "versions": versions | {name: version(name) for name in LIBRARIES}}
