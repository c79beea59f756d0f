"""The command line: what a user types, and what is shown for it."""

from __future__ import annotations

import signal
import sys

from acesim.cli import catalogue, matching, papers, runs, wires
from acesim.cli.shell import cli, terminate

__all__ = ["catalogue", "cli", "main", "matching", "papers", "runs", "wires"]


def main() -> None:
    """Be the console command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no ± still gets its table
    signal.signal(signal.SIGTERM, terminate)
    cli.main(prog_name="acesim")
