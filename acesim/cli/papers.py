"""The command that examines what papers claim."""

from __future__ import annotations

import sys

import click

from acesim.audits import audit
from acesim.cli.runs import plugin_option, seeds_option
from acesim.cli.shell import FAILED, cli, example, voiced
from acesim.report.formats import FORMATS, render
from acesim.scenario.claims import load_claims
from acesim.scenario.library import shipped_claims
from acesim.terminal import Voice, show_page, shown_progress


@cli.command(epilog=example("claims", "claims ace-sync", "claims ace-sync --run --seeds 0-6",
                             "claims mine.yaml --results elsewhere --format markdown"))
@click.argument("file", required=False)
@click.option("--results", default="results", show_default=True, type=click.Path(file_okay=False),
              help="Folder of the results.")
@click.option("--run", "running", is_flag=True, help="Compute the runs that are missing.")
@seeds_option
@click.option("--jobs", type=click.IntRange(1), help="Processes; one per processor unless given.")
@click.option("--format", "form", type=click.Choice(["text", *FORMATS]), default="text", show_default=True)
@plugin_option
@voiced
def claims(file: str | None, results: str, running: bool, seeds: tuple[int, ...] | None, jobs: int | None, form: str,
           plugins: tuple[str, ...], quiet: bool, verbose: bool) -> None:
    """Examine the claims of a paper: FILE, or the name of a shipped one; without it, list those.

    Reads finished runs; a verdict each by the rule that was written before: reproduced, not reproduced, inconclusive,
    not checkable here.
    """
    if file is None:
        for name in shipped_claims():
            click.echo(f"{name:16} {load_claims(name).claims.paper.cited}")
        return
    with shown_progress(quiet or not running, verbose) as watcher:
        found = audit(file, results, seeds, running, jobs, plugins, watcher)
    page = found.page(_command(file, results, seeds))
    if form == "text":
        show_page(page)
    else:
        click.echo(render(found.table(), page, form))
    for fault in found.faults:
        click.echo(fault, err=True)
    Voice(quiet, verbose).detail(f"rules: {found.file.path}")
    if found.faults:
        sys.exit(FAILED)


def _command(file: str, results: str, seeds: tuple[int, ...] | None) -> str:
    """Spell the command that computes what is missing."""
    options = [f"--results {results}"] if results != "results" else []
    options += [f"--seeds {','.join(map(str, seeds))}"] if seeds else []
    return " ".join(["acesim claims", file, *options, "--run"])
