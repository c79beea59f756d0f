"""What the ACE-Sync paper's Table 1 says, to be shown beside our figures and used in no computation."""

from __future__ import annotations

from typing import NamedTuple

SOURCE = "Yang, Lin & Wei, ACE-Sync, arXiv:2512.18127, Table 1"


class PaperRow(NamedTuple):
    """A line of the paper's table; `gb` is one upload of every worker (see compare.COLUMNS)."""

    top1_percent: float
    perplexity: float
    gb: float
    convergence_epochs: float


TABLE_1 = {
    "full-sync": PaperRow(82.4, 18.7, 112.5, 41),
    "top-k": PaperRow(80.1, 20.3, 68.4, 45),
    "fedavg": PaperRow(78.9, 21.6, 52.1, 47),
    "ace-sync": PaperRow(82.1, 18.9, 44.7, 39),
}
"""By the name of our policy."""


def paper_row(scenario: str, policy: str) -> PaperRow | None:
    """Return the paper's line for a policy, in the scenarios that re-enact its experiment (table1 and its kin)."""
    return TABLE_1.get(policy) if scenario.split("-")[0] == "table1" else None
