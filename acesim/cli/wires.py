"""Commands of the network alone: traces and flows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from acesim.cli.shell import cli, example, voiced
from acesim.network.fidelity import Held, page
from acesim.network.formats import FORMS, SPELLED, WRITTEN, form_of, read, write
from acesim.network.generator import lines, recorded
from acesim.network.models import access_models
from acesim.network.replay import replay
from acesim.report.card import found, measured_now
from acesim.report.fidelity import card
from acesim.report.traces import draw_trace, grid_of, kind_line, statistics_page, ways
from acesim.scenario import Access
from acesim.scenario.errors import AcesimError, ScenarioError, TraceError
from acesim.scenario.strict import read_json
from acesim.scenario.units import RATE, TIME, parse
from acesim.terminal import Voice, show_page, sparkline

# --- the network alone -----------------------------------------------------------------------------------------------

@cli.group()
def traces() -> None:
    """Make and look at the rates of links over time."""


@traces.command("list", epilog=example("traces list"))
@voiced
def traces_list(quiet: bool, verbose: bool) -> None:
    """List the kinds of access whose rates can be generated, and what they were fitted to."""
    for kind, model in sorted(access_models().items()):
        click.echo(kind_line(kind, model))
    Voice(quiet, verbose).say(f"formats of files: {', '.join(FORMS)}; written: {', '.join(WRITTEN)}")


@traces.command(epilog=example("traces generate lte --seed 3 --downlink '40 Mbps' --out lte.csv",
                                "traces generate 5g --out walk.down --to mahimahi"))
@click.argument("kind", type=click.Choice(sorted(access_models())))
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--downlink", metavar="RATE", help="Mean, '40 Mbps', or bounds, '5-200 Mbps'; the kind's own if absent.")
@click.option("--seconds", type=click.IntRange(2), default=1024, show_default=True)
@click.option("--out", type=click.Path(dir_okay=False), help="A file; standard output unless given.")
@click.option("--to", "form", type=click.Choice(WRITTEN), default="csv", show_default=True, help="Its format.")
@voiced
def generate(kind: str, seed: int, downlink: str | None, seconds: int, out: str | None, form: str, quiet: bool,
             verbose: bool) -> None:
    """Generate a link of an access KIND, a row a second: t_s, down_mbps, up_mbps.

    On standard output pensieve and mahimahi are the downlink alone.
    """
    try:
        rate = parse(RATE, downlink) if downlink else None
    except ValueError as error:
        raise click.BadParameter(f"{downlink}: {error}", param_hint="--downlink") from error
    access = Access.model_validate({"kind": kind, "downlink_bytes_per_s": rate})
    line = lines([access], 1.0, float(seconds), seed)[0]
    recording = recorded(f"{kind}, seed {seed}", line)
    if out is None:
        click.echo(SPELLED[form](recording), nl=False)
    else:
        names = ", ".join(map(str, write(recording, out, form)))
        Voice(quiet, verbose).say(f"written: {names}; round trip {1000 * line.rtt_s:.0f} ms")


_form_option = click.option("--from", "source", type=click.Choice(FORMS),
                            help="The file's format; told by its content unless given.")


@traces.command(epilog=example("traces show lte.csv", "traces show drive.down --out drive.svg",
                                "traces show fcc_5s.csv#hd_trace0003"))
@click.argument("file", type=click.Path())
@_form_option
@click.option("--out", type=click.Path(dir_okay=False), help="Draw it into FILE.svg, FILE.png or FILE.pdf.")
@voiced
def show(file: str, source: str | None, out: str | None, quiet: bool, verbose: bool) -> None:
    """Print what is in a trace FILE: statistics and a picture."""
    recording = read(file, source)
    click.echo("\n".join(statistics_page(recording)))
    for name, rates in ways(grid_of(recording)[0]):
        click.echo(f"{name:5} {sparkline(rates.tolist())}")
    if out is not None:
        Voice(quiet, verbose).say(f"drawn: {draw_trace(recording, out)}")


@traces.command(epilog=example("traces convert drive.down drive.csv --step '100 ms'",
                                "traces convert drive.csv drive.down", "traces convert drive.csv drive.log"))
@click.argument("file", type=click.Path())
@click.argument("out", type=click.Path(dir_okay=False))
@_form_option
@click.option("--to", "form", type=click.Choice(WRITTEN),
              help="Unless given: csv for .csv, mahimahi for .down and .up, pensieve for .log and .txt.")
@click.option("--step", metavar="TIME", help="Average over equal steps, '1 s'; the rows of FILE unless given.")
@voiced
def convert(file: str, out: str, source: str | None, form: str | None, step: str | None, quiet: bool,
            verbose: bool) -> None:
    """Convert a trace FILE into another format; bytes are conserved."""
    recording = read(file, source)
    if step is not None:
        recording = recording.stepped(_one_step(step))
    names = write(recording, out, form or form_of(out))
    Voice(quiet, verbose).say(f"written: {', '.join(map(str, names))}")


def _one_step(text: str) -> float:
    try:
        step = parse(TIME, text)
    except ValueError as error:
        raise click.BadParameter(f"{text}: {error}", param_hint="--step") from error
    if not (step.is_constant and step.low > 0):
        raise click.BadParameter(f"{text}: must be one time > 0, for example 1 s", param_hint="--step")
    return step.low


@cli.command(epilog=example("flows transfers.json"))
@click.argument("file", type=click.Path(dir_okay=False))
@voiced
def flows(file: str, quiet: bool, verbose: bool) -> None:
    """Print when the flows of FILE finish on its links: the network model alone."""
    try:
        document = read_json(Path(file).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise AcesimError(f"{file}: not JSON: {error}") from error
    except RecursionError as error:
        raise AcesimError(f"{file}: not a flows file: lists or objects nested far too deeply") from error
    try:
        finish = replay(document)
    except ScenarioError as error:
        raise ScenarioError([problem._replace(file=file) for problem in error.problems]) from error
    except TraceError as error:
        raise TraceError(file, None, str(error)) from error
    click.echo(json.dumps({"finish": {str(key): at_s for key, at_s in finish.items()}}))


@cli.command(epilog=example("fidelity", "fidelity --measured traces/ --write traces/fidelity.json > tables.md"))
@click.option("--measured", type=click.Path(exists=True, file_okay=False),
              help="A folder of measured links with an INDEX.csv (docs/fidelity.md): print the tables beside them.")
@click.option("--write", "out", type=click.Path(dir_okay=False),
              help="Write what was found into a file: traces/fidelity.json, which the card of every report is made of.")
@voiced
def fidelity(measured: str | None, out: str | None, quiet: bool, verbose: bool) -> None:
    """Print how far the network model is from closed forms, and from what ns-3, Linux and drives measured."""
    links: Sequence[Held] = found()[1]
    if measured is None:
        show_page(card())
    else:
        links, tables = page(Path(measured))
        click.echo(tables)
    if out is not None:
        Path(out).write_text(measured_now(links), encoding="utf-8")
        Voice(quiet, verbose).say(f"written: {out}")
