"""Commands that compute runs, and those that show what came of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from acesim.cli.shell import FAILED, Command, cli, example, voiced
from acesim.records.read import find, missing
from acesim.report.compare import MARGIN, VIEWS, view
from acesim.report.formats import FORMATS, render
from acesim.report.grids import sweep_page
from acesim.report.layout import comparison_page, view_page
from acesim.scenario.errors import ResultMissing
from acesim.study import Study, read_scenario
from acesim.study import run as run_study
from acesim.sweeps import load_sweep
from acesim.sweeps import sweep as run_sweep
from acesim.terminal import Voice, host_line, show_page, shown_progress

# --- run and sweep ---------------------------------------------------------------------------------------------------

def _seeds(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read 0-2, 0,3,5 or a mix."""
    if text is None:
        return None
    try:
        ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
    except ValueError:
        ends = [[]]
    if not all(len(part) in (1, 2) and part[0] <= part[-1] for part in ends):
        raise click.BadParameter(f"{text}: write seeds as 0-2 or 0,3,5")
    return tuple(seed for part in ends for seed in range(part[0], part[-1] + 1))


seeds_option = click.option("--seeds", callback=_seeds, metavar="0-2", help="Seeds, in place of the scenario's.")
set_option = click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE",
                           help="Change the scenario; may be given several times.")
plugin_option = click.option("--plugin", "plugins", multiple=True, type=click.Path(), metavar="FILE",
                              help="A file with policies of your own.")


def _running(command: Command) -> Command:
    """Add the options of commands that compute runs."""
    for option in reversed((
            click.option("--policy", "policies", multiple=True, metavar="LABEL",
                         help="Only this policy; may be given several times."),
            seeds_option,
            set_option,
            click.option("--jobs", type=click.IntRange(1), help="Processes; one per processor unless given."),
            click.option("--out", default="results", show_default=True, type=click.Path(file_okay=False),
                         help="Folder of the results."),
            click.option("--fresh", is_flag=True, help="Compute again what is asked for and there already."),
            plugin_option)):
        command = option(command)
    return voiced(command)


@cli.command(epilog=example("run quickstart", "run table1 --policy full-sync --policy ace-sync --seeds 0-4",
                             "run mine.yaml --set workers.*.access.rtt='50 ms' --out trial"))
@click.argument("scenario")
@_running
def run(scenario: str, policies: tuple[str, ...], seeds: tuple[int, ...] | None, overrides: tuple[str, ...],
        jobs: int | None, out: str, fresh: bool, plugins: tuple[str, ...], quiet: bool, verbose: bool) -> None:
    """Run every policy and seed of SCENARIO (a file, or the name of a shipped one) in parallel processes.

    Ends with the comparison.  Finished runs are reused.  A scenario with a `sweep` section is run at every point of
                               its grid.
    """
    voice = Voice(quiet, verbose)
    if read_scenario(scenario, overrides, plugins).sweep:
        _sweep(scenario, (), policies, seeds, overrides, jobs, out, fresh, plugins, quiet, verbose)
        return
    with shown_progress(quiet, verbose) as watcher:
        study = run_study(scenario, policies or None, seeds, overrides, jobs, out, fresh, plugins, watcher)
    if study.records and not quiet:
        show_page(comparison_page(study.compare(), study.records))
        voice.say(host_line(study.records))
    _finish(study.faults, study.path, voice)


@cli.command(epilog=example("sweep quickstart --over 'workers.*.access.uplink=5Mbps:200Mbps:log:8'",
                             "sweep quickstart --over policies.top-k.ratio=0.1,0.3 --policy top-k"))
@click.argument("scenario")
@click.option("--over", multiple=True, metavar="KEY.PATH=VALUES",
              help="low:high:log:count, low:high:lin:count or a,b,c; may be given several times for a grid; the "
                   "scenario's own `sweep` unless given.")
@_running
def sweep(scenario: str, over: tuple[str, ...], policies: tuple[str, ...], seeds: tuple[int, ...] | None,
          overrides: tuple[str, ...], jobs: int | None, out: str, fresh: bool, plugins: tuple[str, ...], quiet: bool,
          verbose: bool) -> None:
    """Run SCENARIO for every combination of values; cells that are done already are reused."""
    _sweep(scenario, over, policies, seeds, overrides, jobs, out, fresh, plugins, quiet, verbose)


def _sweep(scenario: str, over: tuple[str, ...], policies: tuple[str, ...], seeds: tuple[int, ...] | None,
           overrides: tuple[str, ...], jobs: int | None, out: str, fresh: bool, plugins: tuple[str, ...], quiet: bool,
           verbose: bool) -> None:
    voice = Voice(quiet, verbose)
    with shown_progress(quiet, verbose) as watcher:
        found = run_sweep(scenario, over, policies or None, seeds, overrides, jobs, out, fresh, plugins, watcher)
    if not quiet:
        show_page(sweep_page(found.table, found.keys, found.records))
        voice.say(host_line(found.records))
    _finish(found.faults, found.path / "cells.csv", voice)


def _finish(faults: Sequence[str], path: Path, voice: Voice) -> None:
    """Say what failed and where the results are; leave with the exit code."""
    for fault in faults:
        click.echo(fault, err=True)
    voice.say(f"results: {path}")
    if faults:
        sys.exit(FAILED)


# --- results ---------------------------------------------------------------------------------------------------------

@cli.command("compare", epilog=example("compare results/quickstart", "compare results/table1 --format markdown",
                                        "compare results/table1 --view time --baseline top-k"))
@click.argument("results", nargs=-1, required=True, type=click.Path())
@click.option("--baseline", metavar="LABEL", help="What the others are compared with; full-sync if it is there.")
@click.option("--format", "form", type=click.Choice(["text", *FORMATS]), default="text", show_default=True)
@click.option("--view", "kind", type=click.Choice(list(VIEWS)), default="samples", show_default=True,
              help="Fair in samples, in bytes sent, or in simulated time.")
@click.option("--margin", type=click.FloatRange(0, min_open=True), default=MARGIN, show_default=True, metavar="POINTS",
              help="Points of accuracy that count as no worse.")
@voiced
def compare_command(results: tuple[str, ...], baseline: str | None, form: str, kind: str, margin: float, quiet: bool,
                    verbose: bool) -> None:
    """Compare the policies whose runs are in RESULTS: means over seeds, intervals, paired differences and tests."""
    voice = Voice(quiet, verbose)
    found = find(results)
    for fault in found.faults:
        voice.say(fault)
    if not found.records:
        raise ResultMissing(missing(results, found.faults))
    voice.detail(f"{len(found.records)} runs found")
    table = view(found.records, kind, baseline, margin)
    page = comparison_page(table, found.records) if kind == "samples" else view_page(table, kind, found.records)
    if form == "text":
        show_page(page)
    else:
        click.echo(render(table, page, form))


@cli.command(epilog=example("plot results/quickstart --kind convergence --out curves.svg",
                             "plot results/quickstart --kind bandwidth --out sweep.pdf"))
@click.argument("results", type=click.Path())
@click.option("--kind", required=True, help="One or several, by commas, of table1, convergence, pareto, bandwidth.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="FILE.svg, FILE.png or FILE.pdf.")
@click.option("--policy", "policies", multiple=True, metavar="LABEL",
              help="Only this policy; may be given several times.")
@click.option("--baseline", metavar="LABEL", help="What the others are compared with; full-sync if it is there.")
@voiced
def plot(results: str, kind: str, out: str, policies: tuple[str, ...], baseline: str | None, quiet: bool,
         verbose: bool) -> None:
    """Draw figures of RESULTS; several kinds go into FILE-<kind>."""
    voice, kinds = Voice(quiet, verbose), [each.strip() for each in kind.split(",")]
    path = Path(out)
    for each in kinds:
        target = path if len(kinds) == 1 else path.with_stem(f"{path.stem}-{each}")
        drawn = load_sweep(results).plot(target, policies) if each == "bandwidth" else \
            Study(results).plot(each, target, baseline, policies)
        voice.say(f"drawn: {drawn}")
