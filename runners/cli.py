"""The command line: one group whose commands are imported when they are called."""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from leanboard.results.errors import LeanboardError
from leanboard.runners.interrupt import listen

if TYPE_CHECKING:
    from leanboard.results.technique_text import TechniqueText

INTERRUPTED = 130

# By name, so that --help imports nothing heavy and the parts need not know one another.
COMMANDS: Mapping[str, str] = {
    "run": "leanboard.runners.commands",
    "plan": "leanboard.runners.commands",
    "fetch": "leanboard.runners.commands",
    "train": "leanboard.runners.commands",
    "doctor": "leanboard.runners.commands",
    "export": "leanboard.results.commands",
    "verify": "leanboard.results.commands",
    "reproduce": "leanboard.runners.commands",
    "site": "leanboard.leaderboard.commands",
    "serve": "leanboard.leaderboard.commands",
}


class LazyGroup(click.Group):
    """A group that knows its commands by the module that holds each."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the names, in the order of a first session."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module and return the command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="leanboard")
@click.pass_context
def cli(context: click.Context) -> None:
    """Measure what an efficiency technique for language models really buys.

    \b
    leanboard run suite=quickstart                       the board of this machine
    leanboard run technique=int8-dynamic workload=chat   one technique and its baseline
    leanboard run -m technique=bf16,int8-dynamic         a grid, one block a job
    leanboard site                                       the published board with your runs
    """  # noqa: D301  click reads \b
    # What the board says of techniques is written beside their code, which it does not know.
    context.obj = _technique_texts


def _technique_texts() -> Mapping[str, TechniqueText]:
    from leanboard.runners.technique_texts import technique_texts

    return technique_texts()


def _os_message(error: OSError) -> str:
    """Return what the system refused, in one sentence with the next step."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk{where}; free some and give the same command again."
    reason = error.strerror or str(error)
    return f"{reason}{where}. Check that the file or folder exists and may be used."


def main() -> None:
    """Run the command line; errors meant for the user are one message and an exit status."""
    listen()
    try:
        cli.main(standalone_mode=False)
    except LeanboardError as error:
        click.secho(f"error: {error}", fg="red", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        click.secho(f"error: {_os_message(error)}", fg="red", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.secho(
            "interrupted: finished records are kept; the same command goes on from there.",
            fg="yellow",
            err=True,
        )
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
