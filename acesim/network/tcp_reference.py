"""Transfers over real and simulated TCP, to hold the model against; no figure was computed by acesim.

NS3          ns-3 3.37: initial window 10, MSS 1448, SACK, 64 MB buffers unless a window is given, drop-tail queue
LINUX        kernel 6.18: token bucket at a router, delay line in user space, MTU 1500; several runs are repeats
ns3_cases()  traces/ns3.csv: a thousand more in ns-3 3.39 (3.44 where cubic loses packets at random), over the same
             kind of bottleneck: shallow queues, random loss, many flows; tests/network/ns3 measures them anew
"""

from __future__ import annotations

import csv
from functools import lru_cache
from typing import NamedTuple, cast

from acesim.network.models import traces_folder
from acesim.network.tcp import Congestion

CASES_FILE = "ns3.csv"


class Case(NamedTuple):
    """Equal transfers over one bottleneck.

    rate_mbps, rtt_s, size_bytes   of the bottleneck, of the way, of each transfer
    queue_packets, congestion      as in `Tcp`
    measured_s                     how long each transfer took
    window_bytes                   as in `Tcp`
    extra_s                        one-way latency of each transfer's own link
    start_s                        of each transfer
    loss                           share of packets lost at random; measured_s is then a mean of several runs
    """

    rate_mbps: float
    rtt_s: float
    size_bytes: int
    queue_packets: int
    congestion: Congestion
    measured_s: tuple[float, ...]
    window_bytes: int | None = None
    extra_s: tuple[float, ...] = ()
    start_s: tuple[float, ...] = ()
    loss: float = 0.0


@lru_cache(maxsize=1)
def ns3_cases() -> tuple[Case, ...]:
    """Return the cases of traces/ns3.csv.

    >>> ns3_cases()[0]
    Case(rate_mbps=5.0, rtt_s=0.01, size_bytes=100000, queue_packets=10, congestion='cubic', measured_s=(0.18853,), \
window_bytes=None, extra_s=(), start_s=(), loss=0.0)
    """
    with traces_folder().joinpath(CASES_FILE).open(encoding="utf-8") as file:
        return tuple(map(_case, csv.DictReader(file)))


def _case(row: dict[str, str]) -> Case:
    return Case(float(row["rate_mbps"]), float(row["rtt_s"]), int(row["size_bytes"]), int(row["queue_packets"]),
                cast("Congestion", row["congestion"]), _numbers(row["measured_s"]),
                int(row["window_bytes"]) if row["window_bytes"] else None, _numbers(row["extra_s"]),
                _numbers(row["start_s"]), float(row["loss"] or 0))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split()))


NS3: tuple[Case, ...] = (
    Case(5, 0.01, 10_000, 50, "cubic", (0.03189,)),
    Case(5, 0.01, 1_000_000, 50, "cubic", (1.67498,)),
    Case(5, 0.1, 10_000_000, 50, "cubic", (16.9008,)),
    Case(20, 0.05, 1_000_000, 83, "cubic", (0.610884,)),
    Case(20, 0.1, 10_000_000, 166, "cubic", (4.63428,)),
    Case(50, 0.3, 10_000_000, 1250, "cubic", (4.302,)),
    Case(100, 0.3, 10_000_000, 2500, "cubic", (3.37549,)),
    Case(200, 0.05, 10_000_000, 833, "cubic", (0.771823,)),
    Case(200, 0.1, 100_000_000, 1666, "cubic", (4.96195,)),
    Case(200, 0.3, 100_000_000, 5000, "cubic", (6.99346,)),
    Case(20, 0.05, 1_000_000, 83, "cubic", (1.4937, 1.65527, 2.15133, 2.01861)),
    Case(100, 0.02, 5_000_000, 166, "cubic", (2.9983, 3.28094, 2.80614, 3.3468, 2.81035, 3.27012, 3.29436, 3.5664)),
    Case(200, 0.1, 20_000_000, 1666, "cubic", (3.09181, 4.01284, 4.66125, 3.33734)),
    Case(50, 0.02, 5_000_000, 83, "cubic", (0.99236, 8.41812, 10.4262, 12.8039), extra_s=(0, 0.02, 0.05, 0.14)),
    Case(200, 0.3, 10_000_000, 5000, "reno", (3.2592,)),
    Case(200, 0.1, 10_000_000, 1666, "cubic", (8.9607,), window_bytes=131_072),
)

LINUX: tuple[Case, ...] = (
    Case(5, 0.02, 100_000, 42, "cubic", (0.1936,)),
    Case(5, 0.3, 100_000, 125, "cubic", (1.1663,)),
    Case(20, 0.02, 1_000_000, 42, "cubic", (0.481,)),
    Case(20, 0.1, 1_000_000, 166, "cubic", (1.1403,)),
    Case(20, 0.3, 1_000_000, 500, "cubic", (2.4364,)),
    Case(50, 0.05, 5_000_000, 208, "cubic", (1.1753,)),
    Case(50, 0.2, 5_000_000, 833, "cubic", (2.4522,)),
    Case(100, 0.02, 20_000_000, 166, "cubic", (2.0829,)),
    Case(100, 0.1, 20_000_000, 833, "cubic", (2.5202,)),
    Case(200, 0.02, 20_000_000, 333, "cubic", (1.1429,)),
    Case(200, 0.15, 20_000_000, 2500, "cubic", (2.892,)),
    Case(200, 0.3, 100_000, 5000, "cubic", (1.0713,)),
    Case(5, 0.1, 2_000_000, 42, "cubic", (3.6293,)),
    Case(20, 0.05, 2_000_000, 83, "cubic", (3.1631, 2.2618, 3.1618, 3.8227)),
    Case(50, 0.1, 5_000_000, 416, "cubic", (2.7333, 3.4784, 4.9544, 3.5881)),
    Case(100, 0.02, 10_000_000, 166, "cubic", (1.8064, 4.168, 2.8275, 3.8165)),
    Case(100, 0.2, 5_000_000, 1666, "cubic", (5.274, 2.4954, 2.6562, 4.388)),
    Case(50, 0.05, 4_000_000, 208, "cubic", (0.9886, 1.1709, 5.5274, 1.0507), start_s=(0, 0.5, 1, 1.5)),
    Case(5, 0.02, 100_000, 42, "bbr", (0.1901,)),
    Case(5, 0.3, 100_000, 125, "bbr", (1.4083,)),
    Case(20, 0.02, 1_000_000, 42, "bbr", (0.4885,)),
    Case(20, 0.1, 1_000_000, 166, "bbr", (1.144,)),
    Case(20, 0.3, 1_000_000, 500, "bbr", (2.4036,)),
    Case(50, 0.05, 5_000_000, 208, "bbr", (1.1565,)),
    Case(50, 0.2, 5_000_000, 833, "bbr", (2.7312,)),
    Case(100, 0.02, 20_000_000, 166, "bbr", (1.9119,)),
    Case(100, 0.1, 20_000_000, 833, "bbr", (2.6319,)),
    Case(200, 0.02, 20_000_000, 333, "bbr", (1.7172,)),
    Case(200, 0.15, 20_000_000, 2500, "bbr", (2.6557,)),
    Case(200, 0.3, 100_000, 5000, "bbr", (1.4073,)),
    Case(5, 0.1, 2_000_000, 42, "bbr", (3.6242,)),
    Case(20, 0.05, 2_000_000, 83, "bbr", (4.4897, 3.0536, 2.0444, 4.6417)),
    Case(50, 0.1, 5_000_000, 416, "bbr", (3.4651, 3.8442, 3.8791, 3.9255)),
    Case(100, 0.02, 10_000_000, 166, "bbr", (3.3699, 3.2583, 3.6225, 3.7778)),
    Case(100, 0.2, 5_000_000, 1666, "bbr", (3.0712, 3.0706, 3.2075, 3.0692)),
    Case(50, 0.05, 4_000_000, 208, "bbr", (1.0003, 1.2811, 1.6681, 1.6453), start_s=(0, 0.5, 1, 1.5)),
    Case(100, 0.02, 20_000_000, 166, "cubic", (1.9403,)),
    Case(100, 0.02, 20_000_000, 166, "cubic", (1.8569,)),
    Case(200, 0.02, 20_000_000, 333, "cubic", (1.0832,)),
    Case(200, 0.02, 20_000_000, 333, "cubic", (1.186,)),
    Case(200, 0.02, 20_000_000, 333, "bbr", (1.091,)),
    Case(200, 0.02, 20_000_000, 333, "bbr", (1.1925,)),
    Case(200, 0.15, 20_000_000, 2500, "cubic", (2.4187,)),
    Case(200, 0.15, 20_000_000, 2500, "cubic", (2.5947,)),
    Case(50, 0.1, 5_000_000, 416, "cubic", (2.285, 3.1436, 4.447, 4.5297)),
    Case(50, 0.1, 5_000_000, 416, "cubic", (1.7278, 4.597, 6.8285, 4.5566)),
    Case(100, 0.02, 10_000_000, 166, "cubic", (2.2515, 3.1325, 3.7528, 3.5092)),
    Case(100, 0.02, 10_000_000, 166, "cubic", (4.1794, 3.3409, 3.0722, 3.1037)),
    Case(50, 0.05, 5_000_000, 208, "cubic", (1.1041,)),
    Case(50, 0.05, 5_000_000, 208, "cubic", (1.1103,)),
)
