"""Commands that tell what there is, and check a scenario without running it."""

from __future__ import annotations

import inspect
import json
import os
from pathlib import Path

import click

from acesim import fleet
from acesim import policies as recipes
from acesim.cli.runs import plugin_option, set_option
from acesim.cli.shell import cli, example, voiced
from acesim.estimates import estimate, in_words, told_by_environment
from acesim.policies.registry import unknown_rule
from acesim.runner import narrowed_by_cards
from acesim.scenario import load as load_scenario
from acesim.scenario import reference, scenario_path, schema, shipped_scenarios, to_yaml
from acesim.scenario.errors import AcesimError
from acesim.study import read_scenario
from acesim.sweeps import cells, own_bundles
from acesim.terminal import Voice

# --- scenarios and what there is -------------------------------------------------------------------------------------

@cli.command(epilog=example("validate mine.yaml", "validate table1 --set seeds='[0]' --show-defaults"))
@click.argument("scenario")
@set_option
@plugin_option
@click.option("--show-defaults", is_flag=True, help="Print the whole scenario with every default filled in.")
@click.option("--no-estimate", is_flag=True, help="Do not play a few rounds to estimate run time, memory and disk.")
@voiced
def validate(scenario: str, overrides: tuple[str, ...], plugins: tuple[str, ...], show_defaults: bool,
             no_estimate: bool, quiet: bool, verbose: bool) -> None:
    """Check SCENARIO without running it: all mistakes at once, each with file and line; then say what it will cost."""
    voice = Voice(quiet, verbose)
    loaded = read_scenario(scenario, overrides, plugins)
    if show_defaults:
        click.echo(to_yaml(loaded), nl=False)
    narrowed = narrowed_by_cards(loaded)  # reads the files of links, too, before anything is called fine
    workers = sum(group.count for group in loaded.workers)
    points = sum(1 for _ in cells(scenario, own_bundles(loaded), overrides, "results", plugins)) if loaded.sweep else 0
    grid = f", at each of {points} points of its grid" if points else ""
    voice.say(f"{loaded.name}: fine; {len(loaded.policies)} policies x {len(loaded.seeds)} seeds on {workers} "
              f"workers{grid}")
    if narrowed:
        voice.say(f"network cards are slower than the lines of: {', '.join(narrowed)} (device.network changes a card)")
    if not (no_estimate or quiet):
        voice.say(f"{'at the point that the file itself holds: ' if points else ''}"
                  f"{in_words(estimate(loaded, plugins=plugins))}")
        for line in told_by_environment(os.environ):
            voice.say(line)


@cli.command("schema", epilog=example("schema scenario", "schema workers.access", "schema > acesim.schema.json"))
@click.argument("section", required=False)
@voiced
def schema_command(section: str | None, quiet: bool, verbose: bool) -> None:
    """Tell what SECTION of a scenario file may hold; without one, print the JSON Schema of all, for editors."""
    click.echo(json.dumps(schema(), indent=1) if section is None else reference(section))


@cli.command(epilog=example("scenarios", "scenarios quickstart"))
@click.argument("name", required=False)
@voiced
def scenarios(name: str | None, quiet: bool, verbose: bool) -> None:
    """List the shipped scenarios, or print one."""
    if name is not None:
        click.echo(scenario_path(name).read_text(encoding="utf-8"), nl=False)
        return
    for each in shipped_scenarios():
        said = load_scenario(each).description or scenario_path(each).read_text(encoding="utf-8").splitlines()[0]
        click.echo(f"{each:16} {said.removeprefix('# ')}")


@cli.command(epilog=example("policies", "policies ace-sync"))
@click.argument("name", required=False)
@plugin_option
@voiced
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


@cli.command(epilog=example("devices", "devices rk3588"))
@click.argument("name", required=False)
@voiced
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


@cli.command(epilog=example("init mine.yaml"))
@click.argument("file", type=click.Path(dir_okay=False))
@voiced
def init(file: str, quiet: bool, verbose: bool) -> None:
    """Write a commented scenario to start from into FILE."""
    path = Path(file)
    if path.exists():
        raise AcesimError(f"{path}: is there already; choose another name")
    path.write_text(TEMPLATE.format(name=path.stem), encoding="utf-8")
    Voice(quiet, verbose).say(f"written: {path}; now: acesim run {path}")
