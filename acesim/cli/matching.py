"""The command that makes budgets equal before a comparison."""

from __future__ import annotations

import click

from acesim.cli.runs import plugin_option, set_option
from acesim.cli.shell import cli, example, voiced
from acesim.matching import match
from acesim.study import read_scenario
from acesim.terminal import Voice


@cli.command("match", epilog=example("match dagc --policy hard-threshold --ratio 0.01",
                                     "match mine.yaml --policy dagc-a --ratio 0.001 --rounds 200"))
@click.argument("scenario")
@click.option("--policy", required=True, metavar="LABEL", help="Whose parameter is sought.")
@click.option("--ratio", required=True, type=float, help="Share of the entries that workers shall send.")
@click.option("--parameter", default="threshold", show_default=True, help="What is changed; more of it sends less.")
@click.option("--rounds", default=50, show_default=True, type=click.IntRange(1), help="First rounds that are played.")
@click.option("--seed", type=click.IntRange(0), help="Of the runs that are played; the scenario's first unless given.")
@set_option
@plugin_option
@voiced
def match_command(scenario: str, policy: str, ratio: float, parameter: str, rounds: int, seed: int | None,
                  overrides: tuple[str, ...], plugins: tuple[str, ...], quiet: bool, verbose: bool) -> None:
    """Find the threshold with which a policy of SCENARIO sends a given share of the entries.

    Plays its first rounds again and again; nothing is stored.
    """
    loaded = read_scenario(scenario, overrides, plugins)
    found = match(loaded, policy, ratio, rounds, seed, parameter, plugins=plugins)
    click.echo(f"{parameter}: {found.value:.4g}")
    Voice(quiet, verbose).say(f"{policy} then sends {100 * found.ratio:.4g} % of the entries over the first {rounds} "
                              f"rounds ({found.tries} tries)")
