"""What a scenario is when it does not say: the 80 workers and four policies of the paper's Table 1.

In the form users write, so that overrides and `append` work on defaults as on anything written.
Source: arXiv 2512.18127, section 4.2; the reading of it is in scenarios/table1.yaml, line by line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def defaults() -> dict[str, Any]:
    """Return the sections that a scenario may leave out altogether, as in YAML."""
    return {"stop": {"epochs": 50}, "nominal": nominal(), "workers": workers(), "policies": policies()}


def nominal() -> dict[str, Any]:
    """Return Table 1's nominal model: batches of 64 by 768 tokens, the middle of section 4.1's 512-1024."""
    return {"model": "transformer-350m", "tokens_per_step": {"cloud": "64 x 768", "edge": "64 x 768"}}


def workers() -> list[dict[str, Any]]:
    """Return 16 cloud and 64 edge workers."""
    return [{"name": "cloud", "count": 16, "device": "a100", "access": {"kind": "datacenter"}},
            {"name": "xavier", "count": 24, "device": "jetson-agx-xavier", "access": _edge("lte")},
            {"name": "arm", "count": 24, "device": "rk3588", "access": _edge("5g")},
            {"name": "cpu", "count": 16, "device": "n100", "access": _edge("fixed")}]


def policies() -> list[str | dict[str, Any]]:
    """Return the four policies of Table 1."""
    return ["full-sync", {"name": "top-k", "ratio": 0.3}, {"name": "fedavg", "local_steps": 2}, "ace-sync"]


def _edge(kind: str) -> Mapping[str, str]:
    return {"kind": kind, "downlink": "5-200 Mbps", "uplink": "5-200 Mbps", "rtt": "10-300 ms"}
