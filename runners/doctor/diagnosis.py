"""What this machine can measure and what not, why, and how to change that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from leanboard.runners.doctor.checks_energy import check_energy, check_gpus
from leanboard.runners.doctor.checks_load import check_load, check_memory
from leanboard.runners.doctor.checks_processor import check_processor
from leanboard.runners.doctor.checks_software import check_places, check_software
from leanboard.runners.doctor.finding import Finding, Sources

_CHECKS = (
    check_processor,
    check_load,
    check_memory,
    check_energy,
    check_gpus,
    check_software,
    check_places,
)


def diagnose(sources: Sources | None = None) -> list[Finding]:
    """Look at everything that a measurement needs, area by area; nothing is fetched.

    It takes a second, for which the load is watched.
    """
    at = sources if sources is not None else Sources()
    return [finding for check in _CHECKS for finding in check(at)]


def summary(findings: Sequence[Finding]) -> str:
    """Return one line: what can be measured here and what not, and how many warnings there are."""
    named = [finding for finding in findings if finding.quantity]
    can = [finding.quantity for finding in named if finding.status != "missing"]
    cannot = [finding.quantity for finding in named if finding.status == "missing"]
    warnings = sum(finding.status == "warn" for finding in findings)
    parts = [
        f"can measure: {', '.join(can) or 'nothing'}",
        f"cannot: {', '.join(cannot) or 'nothing'}",
        f"{warnings} warning{'s' * (warnings != 1)}",
    ]
    return "; ".join(parts)


def report_json(findings: Sequence[Finding]) -> str:
    """Return the findings and the summary as JSON, for a report."""
    said = {"findings": [asdict(finding) for finding in findings], "summary": summary(findings)}
    return json.dumps(said, indent=2, ensure_ascii=False)
