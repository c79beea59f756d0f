"""The command line: what a user types, and what is shown for it.

Results go to standard output, progress and complaints to standard error.  Exit codes: 0 done, 1 a run failed,
2 bad input, 130 interrupted, 143 terminated; after the last two the same command goes on where it was.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

import acesim
from acesim.scenario.errors import AcesimError

FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 1, 2, 130, 143

Command = TypeVar("Command", bound=Callable[..., Any])


class Terminated(KeyboardInterrupt):
    """SIGTERM came.  It is a KeyboardInterrupt because whoever cleans up after one, joblib too, then does here."""


def terminate(*_: object) -> NoReturn:
    """Handle SIGTERM: left alone it would end this process and leave the workers computing."""
    raise Terminated


class Acesim(click.Group):
    """Turns what goes wrong into a message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (AcesimError, OSError) as error:
            kept = isinstance(error, OSError) and error.errno == errno.ENOSPC
            click.echo(f"{error}{'; finished runs are kept: make room, and run it again' if kept else ''}", err=True)
            ctx.exit(BAD_INPUT)
        except KeyboardInterrupt as cause:
            word, code = ("terminated", TERMINATED) if isinstance(cause, Terminated) else ("interrupted", INTERRUPTED)
            click.echo(f"\n{word}; finished runs are kept, and the same command goes on from there", err=True)
            ctx.exit(code)


def voiced(command: Command) -> Command:
    """Add --quiet and --verbose."""
    command = click.option("--quiet", is_flag=True, help="Say nothing beside the result.")(command)
    return click.option("--verbose", is_flag=True, help="Say more beside the result.")(command)


def example(*examples: str) -> str:
    """Lay out examples for a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  acesim {line}" for line in examples)


@click.group(cls=Acesim, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(acesim.__version__, prog_name="acesim")
def cli() -> None:
    """Train a model on many simulated workers while policies decide what crosses the network.

    \b
    Begin with:  acesim run quickstart
    """
