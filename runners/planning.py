"""What a run would do, on the terminal: the plan, the menu, the doctor's findings and ceilings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leanboard.results.errors import ConfigError
from leanboard.runners import config
from leanboard.runners.estimate import Estimate
from leanboard.runners.grid import BlockSpec, blocks
from leanboard.runners.making_time import ArmMaking, Makings, in_words, makings
from leanboard.runners.progress import clock_text
from leanboard.runners.run import history

if TYPE_CHECKING:
    from rich.console import Console


def show_menu(console: Console) -> None:
    """Print what each config group offers."""
    from rich.table import Table

    table = Table("group", "options", title="leanboard run GROUP=OPTION", title_justify="left")
    for group in config.GROUPS:
        table.add_row(group, ", ".join(config.options(group)))
    console.print(table)


def show_plan(overrides: Sequence[str], console: Console) -> None:
    """Print the blocks of a command and how long they will take; run nothing."""
    print_plan(blocks(overrides), console)


def print_plan(specs: Sequence[BlockSpec], console: Console) -> None:
    """Print each block with a row an arm, and the estimate."""
    known = history(specs[0].store)
    made = makings(specs, known)
    total_s = sum(
        _print_block(number, spec, Estimate.of(spec, known), made, console)
        for number, spec in enumerate(specs)
    )
    arms = sum(len(spec.arms) for spec in specs)
    procedure = specs[0].procedure
    adaptive = procedure.max_rounds is not None
    rounds = f"{procedure.rounds} to {procedure.max_rounds}" if adaptive else procedure.rounds
    timed = any(spec.workloads for spec in specs)
    work = f"{rounds} interleaved rounds" if timed else "nothing timed"
    basis = "from earlier runs here" if known.batch_s else "a rough rule: no earlier run here"
    console.print(
        f"{arms} arms, {work}: {'at most' if timed and adaptive else 'about'} "
        f"{clock_text(total_s)} ({basis}){in_words(made.values())}; "
        "fetching and converting apart."
    )


def _print_block(
    number: int, spec: BlockSpec, estimate: Estimate, made: Makings, console: Console
) -> float:
    from rich.table import Table

    workloads = ", ".join(workload.name for workload in spec.workloads) or "none"
    tasks = ", ".join(f"{size.task} ({size.items})" for size in spec.accuracy.sizes()) or "none"
    console.print(
        f"[bold]{spec.model.name}[/] on {spec.backend_name}, {spec.profile.name} with "
        f"{spec.profile.threads} threads\n  workloads: {workloads}"
        f"\n  accuracy: {tasks}"
    )
    texts = {arm.label: _making_text(made.get((number, arm.label))) for arm in spec.arms}
    making = any(texts.values())
    table = Table("arm", "about", *(["made once"] if making else []), box=None, padding=(0, 2))
    for arm in spec.arms:
        last = [texts[arm.label]] if making else []
        table.add_row(arm.label, clock_text(estimate.arm_s(spec, arm)), *last)
    console.print(table)
    return estimate.block_s(spec)


def _making_text(making: ArmMaking | None) -> str:
    return "" if making is None else making.text()


def show_findings(console: Console, *, as_json: bool = False) -> None:
    """Print what can be measured on this machine and what not; as JSON for a report."""
    from rich.markup import escape
    from rich.table import Table

    from leanboard.runners.doctor.diagnosis import diagnose, report_json, summary

    findings = diagnose()
    if as_json:
        click.echo(report_json(findings))
        return
    styles = {"ok": "green", "warn": "yellow", "missing": "red"}
    table = Table("", "what", "finding", "how to change it")
    area = ""
    for finding in findings:
        if finding.area != area:
            table.add_section()
            table.add_row("", f"[bold]{escape(finding.area)}[/]")
            area = finding.area
        style = styles[finding.status]
        table.add_row(
            f"[{style}]{finding.status}[/]",
            escape(finding.name),
            escape(finding.message),
            escape(finding.fix),
        )
    console.print(table)
    console.print(escape(summary(findings)))


def show_calibration(console: Console, threads: Sequence[int] = ()) -> None:
    """Measure what this machine can do at best, keep it for the roofline, and print it.

    Args:
        console: where to.
        threads: each device with so many; by default every number of threads that the menu's
            hardware profiles use.

    Raises:
        ConfigError: if there are not so many cores.
        LeanboardError: if it cannot be measured, or the cache cannot be written.
    """
    from rich.table import Table

    from leanboard.results import identity
    from leanboard.runners.lock import measuring
    from leanboard.runners.machine.calibration import Resources, calibrate, ceiling_rows
    from leanboard.runners.machine.environment import snapshot
    from leanboard.runners.machine.hardware import THIS_MACHINE

    cache = Path(config.compose([])["cache"]).expanduser()
    machine = identity.machine_id(snapshot())
    cores = THIS_MACHINE.cores()
    counts = sorted(set(threads), reverse=True)
    if counts and counts[0] > cores:
        raise ConfigError(
            f"--threads is {counts[0]}, and this process may use {cores} cores. "
            f"Use --threads {cores} or fewer."
        )
    wanted = [Resources("cpu", count) for count in counts or sorted({cores, 1}, reverse=True)]
    if THIS_MACHINE.cuda_missing() is None:
        wanted += [Resources("cuda", count) for count in counts or [cores]]
    table = Table("device", "threads", "ceiling", "best", "median", "spread", "reached by")
    with measuring(wanted[-1].device, console.print):
        for resources in wanted:
            made = calibrate(cache, machine, resources, console.print)
            for row in ceiling_rows(made):
                table.add_row(resources.device, str(resources.threads), *row)
    console.print(table)
    console.print(
        f"Kept for {machine} in the cache; runs read it. Ceilings are torch's best: an engine with "
        "better kernels can exceed them.\n"
        "A run with another number of threads (hardware.threads=N) needs its own: "
        "leanboard doctor --calibrate --threads N"
    )
