"""What a run would do, on the terminal: the plan, the menu, and the doctor's findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from leanboard.runners import config
from leanboard.runners.estimate import Estimate
from leanboard.runners.grid import BlockSpec, blocks
from leanboard.runners.progress import clock_text
from leanboard.runners.run import history

if TYPE_CHECKING:
    from rich.console import Console

GROUPS = (
    "suite",
    "model",
    "technique",
    "workload",
    "backend",
    "hardware",
    "procedure",
    "accuracy",
    "data",
)


def show_menu(console: Console) -> None:
    """Print what each config group offers."""
    from rich.table import Table

    table = Table("group", "options", title="leanboard run GROUP=OPTION", title_justify="left")
    for group in GROUPS:
        table.add_row(group, ", ".join(config.options(group)))
    console.print(table)


def show_plan(overrides: Sequence[str], console: Console) -> None:
    """Print the blocks of a command and how long they will take; run nothing."""
    print_plan(blocks(overrides), console)


def print_plan(specs: Sequence[BlockSpec], console: Console) -> None:
    """Print a table with a row an arm, and the estimate."""
    from rich.table import Table

    known = history(specs[0].store)
    table = Table("model", "backend", "hardware", "arm", "workloads", "accuracy", "estimate")
    total_s = 0.0
    for spec in specs:
        estimate = Estimate.of(spec, known)
        for arm in spec.arms:
            seconds = estimate.arm_s(spec, arm)
            total_s += seconds
            table.add_row(
                spec.model.name,
                spec.backend_name,
                f"{spec.profile.name}, {spec.profile.threads} threads",
                arm.label,
                ", ".join(workload.name for workload in spec.workloads),
                ", ".join(f"{task} ({size})" for task, size in spec.accuracy.sizes()) or "none",
                clock_text(seconds),
            )
        table.add_section()
    console.print(table)
    rounds = specs[0].procedure.rounds
    basis = "from earlier runs here" if known.batch_s else "a rough rule; no earlier run here"
    console.print(
        f"{sum(len(s.arms) for s in specs)} arms, {rounds} interleaved rounds: "
        f"about {clock_text(total_s)} ({basis}), fetching and converting apart.",
        highlight=False,
    )


def show_findings(console: Console) -> None:
    """Print what can be measured on this machine and what not."""
    from leanboard.runners.doctor import diagnose
    from rich.table import Table

    styles = {"ok": "green", "warn": "yellow", "missing": "red"}
    table = Table("", "what", "finding", "how to change it")
    for finding in diagnose():
        style = styles[finding.status]
        table.add_row(f"[{style}]{finding.status}[/]", finding.area, finding.message, finding.fix)
    console.print(table)
