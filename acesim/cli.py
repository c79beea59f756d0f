"""The command line: what a user types, and what is shown for it.

Results go to standard output, progress and complaints to standard error.  Exit codes: 0 done, 1 a run failed,
2 bad input, 130 interrupted; the same command goes on where it was.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

import acesim
from acesim import fleet
from acesim import policies as recipes
from acesim.estimates import estimate, in_words
from acesim.network.files import written_csv
from acesim.network.formats import FORMS, WRITTEN, form_of, read, write
from acesim.network.generator import lines, recorded
from acesim.network.models import access_models
from acesim.network.replay import replay
from acesim.policies.registry import unknown_rule
from acesim.records.read import find, missing
from acesim.report.compare import VIEWS, view
from acesim.report.formats import FORMATS, render
from acesim.report.layout import comparison_page, sweep_page, view_page
from acesim.report.traces import draw_trace, grid_of, kind_line, statistics_page, ways
from acesim.scenario import Access, scenario_path, schema, shipped_scenarios, to_yaml
from acesim.scenario import load as load_scenario
from acesim.scenario.errors import AcesimError, ResultMissing
from acesim.scenario.units import RATE, TIME, parse
from acesim.study import Study, read_scenario
from acesim.study import run as run_study
from acesim.sweeps import load_sweep
from acesim.sweeps import sweep as run_sweep
from acesim.terminal import Voice, show_page, shown_progress, sparkline

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Command = TypeVar("Command", bound=Callable[..., Any])


class Acesim(click.Group):
    """Turns what goes wrong into a message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (AcesimError, OSError) as error:
            click.echo(str(error), err=True)
            ctx.exit(BAD_INPUT)
        except KeyboardInterrupt:
            click.echo("\ninterrupted; finished runs are kept, and the same command goes on from there", err=True)
            ctx.exit(INTERRUPTED)


def _voiced(command: Command) -> Command:
    command = click.option("--quiet", is_flag=True, help="Say nothing beside the result.")(command)
    return click.option("--verbose", is_flag=True, help="Say more beside the result.")(command)


def _example(*examples: str) -> str:
    """Lay out examples for a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  acesim {line}" for line in examples)


@click.group(cls=Acesim, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(acesim.__version__, prog_name="acesim")
def cli() -> None:
    """Train a model on many simulated workers while policies decide what crosses the network.

    \b
    Begin with:  acesim run quickstart
    """


# --- run and sweep ---------------------------------------------------------------------------------------------------

def _seeds(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Read 0-2, 0,3,5 or a mix."""
    if text is None:
        return None
    try:
        ends = [[int(end) for end in part.split("-")] for part in text.split(",")]
        found = tuple(seed for part in ends for seed in range(part[0], part[-1] + 1) if len(part) <= 2)
    except ValueError:
        found = ()
    if not found:
        raise click.BadParameter(f"{text}: write seeds as 0-2 or 0,3,5")
    return found


_set_option = click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE",
                           help="Change the scenario; may be given several times.")
_plugin_option = click.option("--plugin", "plugins", multiple=True, type=click.Path(), metavar="FILE",
                              help="A file with policies of your own.")


def _running(command: Command) -> Command:
    """Add the options of commands that compute runs."""
    for option in reversed((
            click.option("--policy", "policies", multiple=True, metavar="LABEL",
                         help="Only this policy; may be given several times."),
            click.option("--seeds", callback=_seeds, metavar="0-2", help="Seeds, in place of the scenario's."),
            _set_option,
            click.option("--jobs", type=click.IntRange(1), help="Processes; one per processor unless given."),
            click.option("--out", default="results", show_default=True, type=click.Path(file_okay=False),
                         help="Folder of the results."),
            click.option("--fresh", is_flag=True, help="Compute again what is there."),
            _plugin_option)):
        command = option(command)
    return _voiced(command)


@cli.command(epilog=_example("run quickstart", "run table1 --policy full-sync --policy ace-sync --seeds 0-4",
                             "run mine.yaml --set workers.*.access.rtt='50 ms' --out trial"))
@click.argument("scenario")
@_running
def run(scenario: str, policies: tuple[str, ...], seeds: tuple[int, ...] | None, overrides: tuple[str, ...],
        jobs: int | None, out: str, fresh: bool, plugins: tuple[str, ...], quiet: bool, verbose: bool) -> None:
    """Run every policy and seed of SCENARIO (a file, or the name of a shipped one) in parallel processes.

    Ends with the comparison.  Finished runs are reused.
    """
    voice = Voice(quiet, verbose)
    with shown_progress(quiet, verbose) as watcher:
        study = run_study(scenario, policies or None, seeds, overrides, jobs, out, fresh, plugins, watcher)
    if study.records and not quiet:
        show_page(comparison_page(study.compare(), study.records))
    _finish(study.faults, study.path, voice)


@cli.command(epilog=_example("sweep quickstart --over 'workers.*.access.uplink=5Mbps:200Mbps:log:8'",
                             "sweep quickstart --over policies.top-k.ratio=0.1,0.3 --policy top-k"))
@click.argument("scenario")
@click.option("--over", required=True, multiple=True, metavar="KEY.PATH=VALUES",
              help="low:high:log:count, low:high:lin:count or a,b,c; may be given several times for a grid.")
@_running
def sweep(scenario: str, over: tuple[str, ...], policies: tuple[str, ...], seeds: tuple[int, ...] | None,
          overrides: tuple[str, ...], jobs: int | None, out: str, fresh: bool, plugins: tuple[str, ...], quiet: bool,
          verbose: bool) -> None:
    """Run SCENARIO for every combination of values; cells that are done already are reused."""
    voice = Voice(quiet, verbose)
    with shown_progress(quiet, verbose) as watcher:
        found = run_sweep(scenario, over, policies or None, seeds, overrides, jobs, out, fresh, plugins, watcher)
    if not quiet:
        show_page(sweep_page(found.table, found.keys))
    _finish(found.faults, found.path / "cells.csv", voice)


def _finish(faults: Sequence[str], path: Path, voice: Voice) -> None:
    """Say what failed and where the results are; leave with the exit code."""
    for fault in faults:
        click.echo(fault, err=True)
    voice.say(f"results: {path}")
    if faults:
        sys.exit(FAILED)


# --- results ---------------------------------------------------------------------------------------------------------

@cli.command("compare", epilog=_example("compare results/quickstart", "compare results/table1 --format markdown",
                                        "compare results/table1 --view time --baseline top-k"))
@click.argument("results", nargs=-1, required=True, type=click.Path())
@click.option("--baseline", metavar="LABEL", help="What the others are compared with; full-sync if it is there.")
@click.option("--format", "form", type=click.Choice(["text", *FORMATS]), default="text", show_default=True)
@click.option("--view", "kind", type=click.Choice(list(VIEWS)), default="samples", show_default=True,
              help="Fair in samples, in bytes sent, or in simulated time.")
@_voiced
def compare_command(results: tuple[str, ...], baseline: str | None, form: str, kind: str, quiet: bool,
                    verbose: bool) -> None:
    """Compare the policies whose runs are in RESULTS: means over seeds, intervals, paired differences."""
    voice = Voice(quiet, verbose)
    found = find(results)
    for fault in found.faults:
        voice.say(fault)
    if not found.records:
        raise ResultMissing(missing(results, found.faults))
    voice.detail(f"{len(found.records)} runs found")
    table = view(found.records, kind, baseline)
    page = comparison_page(table, found.records) if kind == "samples" else view_page(table, kind)
    if form == "text":
        show_page(page)
    else:
        click.echo(render(table, page, form))


@cli.command(epilog=_example("plot results/quickstart --kind convergence --out curves.svg",
                             "plot results/quickstart --kind bandwidth --out sweep.pdf"))
@click.argument("results", type=click.Path())
@click.option("--kind", required=True, help="One or several, by commas, of table1, convergence, pareto, bandwidth.")
@click.option("--out", required=True, type=click.Path(dir_okay=False), help="FILE.svg, FILE.png or FILE.pdf.")
@click.option("--baseline", metavar="LABEL", help="What the others are compared with; full-sync if it is there.")
@_voiced
def plot(results: str, kind: str, out: str, baseline: str | None, quiet: bool, verbose: bool) -> None:
    """Draw figures of RESULTS; several kinds go into FILE-<kind>."""
    voice, kinds = Voice(quiet, verbose), [each.strip() for each in kind.split(",")]
    path = Path(out)
    for each in kinds:
        target = path if len(kinds) == 1 else path.with_stem(f"{path.stem}-{each}")
        drawn = load_sweep(results).plot(target) if each == "bandwidth" else \
            Study(results).plot(each, target, baseline)
        voice.say(f"drawn: {drawn}")


# --- scenarios and what there is -------------------------------------------------------------------------------------

@cli.command(epilog=_example("validate mine.yaml", "validate table1 --set seeds='[0]' --show-defaults"))
@click.argument("scenario")
@_set_option
@_plugin_option
@click.option("--show-defaults", is_flag=True, help="Print the whole scenario with every default filled in.")
@click.option("--no-estimate", is_flag=True, help="Do not play a few rounds to estimate run time, memory and disk.")
@_voiced
def validate(scenario: str, overrides: tuple[str, ...], plugins: tuple[str, ...], show_defaults: bool,
             no_estimate: bool, quiet: bool, verbose: bool) -> None:
    """Check SCENARIO without running it: all mistakes at once, each with file and line; then say what it will cost."""
    voice = Voice(quiet, verbose)
    loaded = read_scenario(scenario, overrides, plugins)
    if show_defaults:
        click.echo(to_yaml(loaded), nl=False)
    workers = sum(group.count for group in loaded.workers)
    voice.say(f"{loaded.name}: fine; {len(loaded.policies)} policies x {len(loaded.seeds)} seeds on {workers} workers")
    if not (no_estimate or quiet):
        voice.say(in_words(estimate(loaded, plugins=plugins)))


@cli.command("schema", epilog=_example("schema > acesim.schema.json"))
@_voiced
def schema_command(quiet: bool, verbose: bool) -> None:
    """Print the JSON Schema of scenario files, for editors."""
    click.echo(json.dumps(schema(), indent=1))


@cli.command(epilog=_example("scenarios", "scenarios quickstart"))
@click.argument("name", required=False)
@_voiced
def scenarios(name: str | None, quiet: bool, verbose: bool) -> None:
    """List the shipped scenarios, or print one."""
    if name is not None:
        click.echo(scenario_path(name).read_text(encoding="utf-8"), nl=False)
        return
    for each in shipped_scenarios():
        click.echo(f"{each:16} {load_scenario(each).description}")


@cli.command(epilog=_example("policies", "policies ace-sync"))
@click.argument("name", required=False)
@_plugin_option
@_voiced
def policies(name: str | None, plugins: tuple[str, ...], quiet: bool, verbose: bool) -> None:
    """List the policies, or print one's parameters, defaults and source."""
    known = recipes.recipes(plugins)
    if name is None:
        for each in sorted(known):
            click.echo(f"{each:20} {(inspect.getdoc(known[each]) or '').splitlines()[0]}")
        return
    if name not in known:
        raise AcesimError(f"{name}: {unknown_rule(name, known)}")
    text, parameters = recipes.describe(known[name])
    click.echo(text + "\n")
    for key, default in parameters.items():
        click.echo(f"  {key} = {'(must be given)' if default is inspect.Parameter.empty else default}")


@cli.command(epilog=_example("devices", "devices rk3588"))
@click.argument("name", required=False)
@_voiced
def devices(name: str | None, quiet: bool, verbose: bool) -> None:
    """List the device profiles, or print one with its source."""
    if name is None:
        for each in sorted(fleet.devices()):
            click.echo(f"{each:20} {fleet.devices()[each].description}")
        return
    for key, value in vars(fleet.device(name)).items():
        click.echo(f"{key:20} {value}")


TEMPLATE = """\
# A scenario of one's own.  `acesim validate` checks it, `acesim run` runs it; what is left out takes a default
# (`acesim validate --show-defaults` shows them all).
name: {name}
seeds: [0]                     # write [0, 1, 2] for intervals: differences are paired by seed
stop: {{epochs: 4}}              # an epoch is steps_per_epoch (24) local steps of every worker, for every policy

task:                          # what is really trained: a small character model
  corpus: {{source: python-docs}}               # or files: "texts/*.txt"
  model: {{layers: 2, d_model: 32, heads: 2, context: 32}}
  optimizer: {{name: adamw, learning_rate: 1e-2, warm_up: 20 rounds}}

nominal: {{model: transformer-350m, tokens_per_step: {{cloud: 64 x 768, edge: 64 x 768}}}}  # what is timed and counted

workers:                       # a range (5-50 Mbps) is drawn for each worker; `acesim devices` lists the devices
  - {{name: cloud, count: 4, device: a100, access: {{kind: datacenter}}}}
  - {{name: phones, count: 12, device: rk3588, access: {{kind: lte, downlink: 10-100 Mbps, rtt: 60 ms}}}}

network: {{regions: 2, region_uplink: 500 Mbps}}

policies:                      # `acesim policies` lists them
  - full-sync
  - {{name: top-k, ratio: 0.3}}
  - ace-sync
"""


@cli.command(epilog=_example("init mine.yaml"))
@click.argument("file", type=click.Path(dir_okay=False))
@_voiced
def init(file: str, quiet: bool, verbose: bool) -> None:
    """Write a commented scenario to start from into FILE."""
    path = Path(file)
    if path.exists():
        raise AcesimError(f"{path}: is there already; choose another name")
    path.write_text(TEMPLATE.format(name=path.stem), encoding="utf-8")
    Voice(quiet, verbose).say(f"written: {path}; now: acesim run {path}")


# --- the network alone -----------------------------------------------------------------------------------------------

@cli.group()
def traces() -> None:
    """Make and look at the rates of links over time."""


@traces.command("list", epilog=_example("traces list"))
@_voiced
def traces_list(quiet: bool, verbose: bool) -> None:
    """List the kinds of access whose rates can be generated, and what they were fitted to."""
    for kind, model in sorted(access_models().items()):
        click.echo(kind_line(kind, model))
    Voice(quiet, verbose).say(f"formats of files: {', '.join(FORMS)}; written: {', '.join(WRITTEN)}")


@traces.command(epilog=_example("traces generate lte --seed 3 --downlink '40 Mbps' --out lte.csv",
                                "traces generate 5g --out walk.down --to mahimahi"))
@click.argument("kind", type=click.Choice(sorted(access_models())))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--downlink", metavar="RATE", help="Mean, '40 Mbps', or bounds, '5-200 Mbps'; the kind's own if absent.")
@click.option("--seconds", type=click.IntRange(2), default=1024, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), help="A file; standard output unless given.")
@click.option("--to", "form", type=click.Choice(WRITTEN), default="csv", show_default=True, help="Its format.")
@_voiced
def generate(kind: str, seed: int, downlink: str | None, seconds: int, out: str | None, form: str, quiet: bool,
             verbose: bool) -> None:
    """Generate a link of an access KIND, a row a second: t_s, down_mbps, up_mbps."""
    try:
        rate = parse(RATE, downlink) if downlink else None
    except ValueError as error:
        raise click.BadParameter(f"{downlink}: {error}", param_hint="--downlink") from error
    access = Access.model_validate({"kind": kind, "downlink_bytes_per_s": rate})
    line = lines([access], 1.0, float(seconds), seed)[0]
    recording = recorded(f"{kind}, seed {seed}", line)
    if out is None:
        click.echo(written_csv(recording), nl=False)
    else:
        names = ", ".join(map(str, write(recording, out, form)))
        Voice(quiet, verbose).say(f"written: {names}; round trip {1000 * line.rtt_s:.0f} ms")


_form_option = click.option("--from", "source", type=click.Choice(FORMS),
                            help="The file's format; told by its content unless given.")


@traces.command(epilog=_example("traces show lte.csv", "traces show drive.down --out drive.svg",
                                "traces show fcc_5s.csv#hd_trace0003"))
@click.argument("file", type=click.Path())
@_form_option
@click.option("--out", type=click.Path(dir_okay=False), help="Draw it into FILE.svg, FILE.png or FILE.pdf.")
@_voiced
def show(file: str, source: str | None, out: str | None, quiet: bool, verbose: bool) -> None:
    """Print what is in a trace FILE: statistics and a picture."""
    recording = read(file, source)
    click.echo("\n".join(statistics_page(recording)))
    for name, rates in ways(grid_of(recording)[0]):
        click.echo(f"{name:5} {sparkline(rates.tolist())}")
    if out is not None:
        Voice(quiet, verbose).say(f"drawn: {draw_trace(recording, out)}")


@traces.command(epilog=_example("traces convert drive.down drive.csv --step '100 ms'",
                                "traces convert drive.csv drive.down", "traces convert drive.csv drive.log"))
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path(dir_okay=False))
@_form_option
@click.option("--to", "form", type=click.Choice(WRITTEN),
              help="Unless given: csv for .csv, mahimahi for .down and .up, pensieve for .log and .txt.")
@click.option("--step", metavar="TIME", help="Average over equal steps, '1 s'; the rows of FILE unless given.")
@_voiced
def convert(file: str, out: str, source: str | None, form: str | None, step: str | None, quiet: bool,
            verbose: bool) -> None:
    """Convert a trace FILE into another format; bytes are conserved."""
    recording = read(file, source)
    if step is not None:
        try:
            recording = recording.stepped(parse(TIME, step).low)
        except (ValueError, ZeroDivisionError) as error:
            raise click.BadParameter(f"{step}: {error}", param_hint="--step") from error
    names = write(recording, out, form or form_of(out))
    Voice(quiet, verbose).say(f"written: {', '.join(map(str, names))}")


@cli.command(epilog=_example("flows transfers.json"))
@click.argument("file", type=click.Path(dir_okay=False))
@_voiced
def flows(file: str, quiet: bool, verbose: bool) -> None:
    """Print when the flows of FILE finish on its links: the network model alone."""
    try:
        document = json.loads(Path(file).read_text(encoding="utf-8"))
    except ValueError as error:
        raise AcesimError(f"{file}: not JSON: {error}") from error
    click.echo(json.dumps({"finish": {str(key): at_s for key, at_s in replay(document).items()}}))


def main() -> None:
    """Be the console command."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that knows no ± still gets its table
    cli.main(prog_name="acesim")
