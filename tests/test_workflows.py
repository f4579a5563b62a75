"""The workflows run what there is with no more rights than they need; the gate sees each record."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from record_factory import make_environment, make_run

from leanboard.results.store import Store
from leanboard.runners import cli

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.y*ml"))
GATE = ROOT / ".ci" / "submission.sh"
READ = {"contents": "read"}
each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)

Workflow = dict[Any, Any]


def read(file: Path) -> Workflow:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def triggers(workflow: Workflow) -> set[str]:
    # YAML 1.1 reads the word ``on`` as true.
    return set(workflow[True])


def jobs(workflow: Workflow) -> dict[str, Workflow]:
    return workflow["jobs"]


def steps(workflow: Workflow) -> Iterator[Workflow]:
    for job in jobs(workflow).values():
        yield from job.get("steps", [])


def scripts(workflow: Workflow) -> list[str]:
    return [step["run"] for step in steps(workflow) if "run" in step]


def test_there_are_the_three_workflows_and_no_other() -> None:
    assert [file.name for file in FILES] == ["ci.yml", "records.yml", "site.yml"]


@each
def test_a_workflow_may_only_read_unless_a_job_deploys(file: Path) -> None:
    workflow = read(file)
    assert workflow["permissions"] == READ
    own = {name: job["permissions"] for name, job in jobs(workflow).items() if "permissions" in job}
    deploying = {
        "build": {"contents": "read", "pages": "read"},
        "deploy": {"pages": "write", "id-token": "write"},
    }
    assert own == (deploying if file.name == "site.yml" else {})


@each
def test_what_a_stranger_sends_meets_no_secret(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert "pull_request_target" not in text
    assert "workflow_run" not in text
    assert "secrets" not in text
    if "pull_request" in triggers(read(file)):
        assert "write" not in str([job.get("permissions") for job in jobs(read(file)).values()])
        assert not any("environment" in job for job in jobs(read(file)).values())


def test_only_a_push_to_main_or_a_maintainer_deploys() -> None:
    workflow = read(FOLDER / "site.yml")
    assert workflow[True] == {"push": {"branches": ["main"]}, "workflow_dispatch": None}
    assert jobs(workflow)["build"]["needs"] == "test"
    assert jobs(workflow)["deploy"]["needs"] == "build"


@each
def test_no_script_holds_an_expression_that_someone_else_could_fill(file: Path) -> None:
    assert [script for script in scripts(read(file)) if "${{" in script] == []


@each
def test_actions_are_of_one_publisher_and_of_a_version(file: Path) -> None:
    used = [step["uses"] for step in steps(read(file)) if "uses" in step]
    used += [job["uses"] for job in jobs(read(file)).values() if "uses" in job]
    assert used
    pinned = re.compile(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})|\./\.github/workflows/[a-z]+\.yml")
    assert [name for name in used if not pinned.fullmatch(name)] == []
    for name in used:
        if name.startswith("./"):
            assert "workflow_call" in triggers(read(ROOT / name))


@each
def test_no_checkout_leaves_its_token_behind(file: Path) -> None:
    for step in steps(read(file)):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each
def test_every_job_has_an_end(file: Path) -> None:
    for job in jobs(read(file)).values():
        assert "uses" in job or job["timeout-minutes"] <= 180


def targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z]+):", text, re.MULTILINE))


def run_leanboard(words: list[str]) -> None:
    """Check that the command line has such a command with such options, and run nothing."""
    context = click.Context(cli.cli)
    command = cli.cli.get_command(context, words[0])
    assert command is not None, words
    command.make_context(words[0], list(words[1:]))


def test_every_command_of_a_script_is_one_that_there_is() -> None:
    seen = set()
    written = [script for file in FILES for script in scripts(read(file))]
    asked = [line for line in GATE.read_text(encoding="utf-8").splitlines() if "leanboard " in line]
    for line in [*(line for script in written for line in script.splitlines()), *asked]:
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == "make":
            assert set(words[1:]) <= targets()
        elif words[0] == "leanboard":
            run_leanboard(words[1:])
        elif words[0] == "bash":
            assert (ROOT / words[1].removeprefix("../gate/")).is_file()
        else:
            assert words[:4] == ["python", "-m", "pip", "install"]
        seen.add(words[0])
    assert seen == {"bash", "leanboard", "python"}


def test_the_gate_of_a_pull_request_is_that_of_its_base() -> None:
    workflow = read(FOLDER / "records.yml")
    assert workflow[True] == {"pull_request": {"paths": ["results/records/**"]}}
    checkouts = {
        step["with"]["path"]: step["with"].get("ref")
        for step in steps(workflow)
        if step.get("uses", "").startswith("actions/checkout@")
    }
    base = "${{ github.event.pull_request.base.sha }}"
    assert checkouts == {"gate": base, "change": None}
    last = list(steps(workflow))[-1]
    assert last["working-directory"] == "change"
    assert last["env"] == {"BASE": base}
    assert last["run"] == 'bash ../gate/.ci/submission.sh "$BASE"'


def test_records_that_were_pushed_pass_the_gate_before_they_are_published() -> None:
    every = jobs(read(FOLDER / "site.yml"))["build"]["steps"]
    scripts_in_order = [step.get("run", "") for step in every]
    place = scripts_in_order.index('bash .ci/submission.sh "$BASE"')
    assert place < scripts_in_order.index("leanboard site --strict")
    assert every[place]["env"] == {"BASE": "${{ github.event.before }}"}
    assert every[place]["if"] == "github.event_name == 'push' && !github.event.created"
    assert every[0]["with"]["fetch-depth"] == 0


def test_what_is_deployed_is_what_the_command_builds() -> None:
    uploaded = [s["with"]["path"] for s in steps(read(FOLDER / "site.yml")) if "upload" in str(s)]
    site = cli.cli.get_command(click.Context(cli.cli), "site")
    assert site is not None
    (out,) = [option for option in site.params if option.name == "out"]
    assert uploaded == [str(out.default)]


# The gate's script, in a repository of its own


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    records = folder / "results" / "records" / "machine" / "cell"
    records.mkdir(parents=True)
    for name in ("kept.json", "changed.json", "kept.traces.parquet"):
        (records / name).write_text("old")
    (folder / "results" / "records" / "README.md").write_text("old")
    git(folder, "init", "-q", "-b", "main")
    commit(folder)
    git(folder, "checkout", "-q", "-b", "change")
    return folder


def git(folder: Path, *words: str) -> str:
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    names = ["-c", "user.name=x", "-c", "user.email=x", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *names, *words],
        cwd=folder,
        env={**os.environ, **quiet},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x")


def gate(folder: Path, program: str, base: str = "main") -> subprocess.CompletedProcess[str]:
    """Run the gate with a program in the place of leanboard."""
    command = folder.parent / "bin" / "leanboard"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f"#!/usr/bin/env bash\n{program}\n")
    command.chmod(0o755)
    return subprocess.run(
        ["bash", str(GATE), base],
        cwd=folder,
        env={**os.environ, "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_gate_gets_what_is_added_and_nothing_else(repository: Path) -> None:
    cell = repository / "results" / "records" / "machine" / "cell"
    (cell / "added $(touch pwned) 'x'.json").write_text("new")
    (cell / "link.json").symlink_to("kept.json")
    (repository / "results" / "records" / "README.md").write_text("new")
    (repository / "other.json").write_text("new")
    commit(repository)
    done = gate(repository, "printf '%s\\n' \"$@\"")
    assert done.returncode == 0, done.stderr
    here = "results/records/machine/cell"
    assert done.stdout.splitlines() == [
        "verify",
        "--submission",
        "--",
        f"{here}/added $(touch pwned) 'x'.json",
        f"{here}/link.json",
    ]
    assert not (repository / "pwned").exists()


def edit(file: Path) -> None:
    file.write_text("new")


def link(file: Path) -> None:
    file.unlink()
    file.symlink_to("kept.json")


def rename(file: Path) -> None:
    file.rename(file.with_name("renamed.json"))


@pytest.mark.parametrize(
    ("change", "letter"), [(edit, "M"), (Path.unlink, "D"), (link, "T"), (rename, "D")]
)
@pytest.mark.parametrize("name", ["changed.json", "kept.traces.parquet"])
def test_the_gate_refuses_to_change_or_delete_what_is_published(
    repository: Path, name: str, change: Callable[[Path], None], letter: str
) -> None:
    cell = repository / "results" / "records" / "machine" / "cell"
    change(cell / name)
    (cell / "added.json").write_text("new")
    commit(repository)
    done = gate(repository, "echo the records are fine")
    assert done.returncode == 1
    told = done.stdout.splitlines()
    assert told[0].startswith("FAIL: published records are neither edited nor deleted")
    assert told[1] == f"{letter}\tresults/records/machine/cell/{name}"
    assert "docs/submitting.md, 'Withdrawing a record'" in told[-1]
    assert "## Withdrawing a record\n" in (ROOT / "docs" / "submitting.md").read_text()
    assert "the records are fine" not in done.stdout


def test_the_gate_tells_the_name_of_a_deleted_file_without_steering_a_terminal(
    repository: Path,
) -> None:
    odd = repository / "results" / "records" / "machine" / "\x1b[31mred\n::error::x.json"
    git(repository, "checkout", "-q", "main")
    odd.write_text("old")
    commit(repository)
    git(repository, "checkout", "-q", "-B", "change", "main")
    odd.unlink()
    commit(repository)
    done = gate(repository, "exit 0")
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert not [line for line in done.stdout.splitlines() if line.startswith("::")]


def test_what_has_landed_meanwhile_is_not_of_the_change(repository: Path) -> None:
    git(repository, "checkout", "-q", "main")
    (repository / "results" / "records" / "machine" / "cell" / "landed.json").write_text("x")
    commit(repository)
    git(repository, "checkout", "-q", "change")
    (repository / "code.py").write_text("x")
    commit(repository)
    done = gate(repository, "exit 9")
    assert (done.returncode, done.stdout) == (0, "no record is added\n")


def test_the_gate_fails_when_a_record_does(repository: Path) -> None:
    (repository / "results" / "records" / "added.json").write_text("x")
    commit(repository)
    assert gate(repository, "exit 1").returncode == 1


def test_a_base_that_git_does_not_know_is_no_pass(repository: Path) -> None:
    assert gate(repository, "exit 0", base="0" * 40).returncode != 0


@pytest.mark.process
def test_the_gate_judges_real_records(repository: Path) -> None:
    program = f'exec {shlex.quote(sys.executable)} -m leanboard.runners.cli "$@"'
    made, long_ago = make_environment(), datetime(2020, 1, 1, tzinfo=UTC)
    packages = {**made.packages, "leanboard": "0.0.1"}
    for changes, status in (({"packages": packages}, 0), ({"git_dirty": True}, 1)):
        environment = made.model_copy(update=changes)
        run = make_run(environment=environment, number=status, started_at=long_ago)
        Store(repository / "results" / "records", "local").write(run.record, run.traces)
        commit(repository)
        done = gate(repository, program)
        assert done.returncode == status, done.stdout + done.stderr
        assert f"{status + 1} files checked, {status} may not" in done.stdout
