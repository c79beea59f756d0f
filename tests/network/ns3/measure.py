"""Measures traces/ns3.csv anew: eleven hundred cases of TCP in ns-3, an hour of two cores.

    python tests/network/ns3/measure.py PROGRAM RECENT traces/ns3.csv

PROGRAM and RECENT are dumbbell.cc, built against ns-3 3.39 and 3.44; the Python package `ns3` has headers and
libraries.  3.39 recovers lost packets as 3.37 does, with which the first reference was measured: single transfers that
both hold agree to 0.1 %.  3.44 alone has cubic's region where it is friendly to reno (RFC 9438, 4.3), which
matters where packets are lost at random.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from statistics import fmean
from typing import Any

PATIENCE_S = 120
"""Cases that ns-3 needs longer for, or does not end in 1000 simulated seconds, are left out: of 1159, 16, all but one
of them 40 MB over the largest bandwidth-delay products."""
RUNS_WITH_LOSS = 5
COLUMNS = ("version", "rate_mbps", "rtt_s", "size_bytes", "queue_packets", "congestion", "window_bytes", "loss",
           "extra_s", "start_s", "measured_s")
TCP = {"cubic": "TcpCubic", "reno": "TcpLinuxReno"}
RATES, ROUND_TRIPS = (5, 20, 50, 100, 200), (0.01, 0.03, 0.1, 0.3)
LONGEST_S = 60
"""Of a transfer over a full line."""
LATER = ((4, 5_000_000, 0.5), (2, 2_000_000, 0.5), (2, 10_000_000, 0.25), (3, 5_000_000, 0.75), (4, 2_000_000, 0.25),
         (8, 2_000_000, 0.5), (4, 10_000_000, 0.5))
"""Transfers, their bytes, and how far apart they start: in the time one of them takes alone."""

Row = dict[str, Any]


def queue(rate: float, rtt_s: float, share: float = 1.0, least: int = 50) -> int:
    """Return a share of the bandwidth-delay product, in packets."""
    return max(least, int(share * rate * 1e6 * rtt_s / 8 / 1500))


def plan() -> Iterator[Row]:
    """Yield what is to be measured."""
    for rate, rtt_s in product(RATES, ROUND_TRIPS):
        base = {"rate_mbps": rate, "rtt_s": rtt_s, "congestion": "cubic", "queue_packets": queue(rate, rtt_s)}
        packets = sorted({queue(rate, rtt_s, share, least=10) for share in (0.1, 0.25, 0.5, 1, 2)})
        for each, congestion, size in product(packets, TCP, (100_000, 1_000_000, 10_000_000, 40_000_000)):
            yield base | {"queue_packets": each, "congestion": congestion, "size_bytes": size}
        for window in (65_536, 262_144, 1_048_576):
            if window < 0.8 * rate * 1e6 * rtt_s / 8:
                yield base | {"size_bytes": 10_000_000, "window_bytes": window}
        for loss, congestion in product((1e-4, 1e-3, 1e-2), TCP):
            yield base | {"size_bytes": 10_000_000, "loss": loss, "congestion": congestion}
        for flows, size in product((2, 4, 8), (500_000, 2_000_000, 8_000_000)):
            yield base | {"size_bytes": size, "start_s": [round(0.0005 * number, 4) for number in range(flows)]}
        yield base | {"size_bytes": 5_000_000, "extra_s": [0, rtt_s / 2, rtt_s, 2 * rtt_s]}
        for flows, size, apart in LATER:
            apart_s = apart * size * 8 / (rate * 1e6)
            if apart_s * (flows - 1) > rtt_s:
                yield base | {"size_bytes": size, "start_s": [round(apart_s * number, 3) for number in range(flows)]}


def measured(program: str, row: Row, run: int) -> list[float] | None:
    """Return how long each transfer took; None where ns-3 took too long, or a transfer did not end."""
    lists = {name: ",".join(map(str, row[key])) for name, key in (("extra", "extra_s"), ("starts", "start_s"))
             if key in row}
    flows = max(len(row.get("extra_s", ())), len(row.get("start_s", ())), 1)
    options = {"rate": row["rate_mbps"], "rtt": row["rtt_s"], "size": row["size_bytes"], "queue": row["queue_packets"],
               "congestion": TCP[row["congestion"]], "flows": flows, "run": run, "loss": row.get("loss", 0), **lists}
    if "window_bytes" in row:
        options["window"] = row["window_bytes"]
    try:
        done = subprocess.run([program, *(f"--{name}={value}" for name, value in options.items())],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    except subprocess.TimeoutExpired:
        return None
    took_s: list[float] = json.loads(done.stdout)["completion_s"]
    return took_s if min(took_s) > 0 else None


def filled(row: Row, old: str, recent: str) -> Row | None:
    """Return the row with its figures: of several runs with random losses the means."""
    newer = bool(row.get("loss")) and row["congestion"] == "cubic"
    runs = [measured(recent if newer else old, row, run + 1) for run in range(RUNS_WITH_LOSS if row.get("loss") else 1)]
    if None in runs:
        return None
    took_s = [round(fmean(each), 6) for each in zip(*(run for run in runs if run), strict=True)]
    written = {key: " ".join(map(str, value)) if isinstance(value, list) else value for key, value in row.items()}
    return written | {"version": "3.44" if newer else "3.39", "measured_s": " ".join(map(str, took_s))}


def main() -> None:
    """Measure, and write the file."""
    old, recent, path = sys.argv[1:]
    rows = [row for row in plan()
            if row["size_bytes"] * 8e-6 / row["rate_mbps"] * len(row.get("start_s", "x")) <= LONGEST_S]
    with ThreadPoolExecutor(2) as pool, open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for row in pool.map(lambda each: filled(each, old, recent), rows):
            if row:
                writer.writerow(row)
                file.flush()


if __name__ == "__main__":
    main()
