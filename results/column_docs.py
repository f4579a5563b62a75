"""What the columns beside the metrics mean, in the exports and in the rows of a filter.

The leaderboard saves the rows of a filter in the browser (``static/save.js``); its columns are
described here with those of the exports, as there is one data dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping

COLUMN_DOCS: Mapping[str, str] = {
    "run_id": "Name of a run: when it began, in UTC, and a random part.",
    "cell_id": "Hash of what was asked: model, techniques, workload or task, backend, device, "
    "procedure.",
    "machine": "Machine of the run: its processor, and a hash of its hardware.",
    "origin": "published (in the repository) or local (of whoever built the table).",
    "model": "Name of the model.",
    "family": "Family of the model's architecture.",
    "techniques": "Names of the techniques, joined by +; none for a baseline.",
    "technique": "The same as techniques, in the rows of a filter.",
    "technique_label": "The techniques with the knobs that tell them from others of the same name.",
    "workload": "Name of the workload; empty for a scoring run.",
    "workload_label": "The workload with the sizes that tell it from others of the same name.",
    "backend": "Name of the backend.",
    "backend_label": "The backend with the parameters that tell it from others of the same name.",
    "device": "Device profile; in the rows of a filter with its threads.",
    "threads": "Threads of the device profile.",
    "task": "Name of the task of a scoring run.",
    "suite": "Suite that asked for the run; empty for a single cell.",
    "block": "The same for all runs that were interleaved with one another.",
    "arm": "Name of the arm within its block.",
    "baseline": "yes for the baseline of a block, else no.",
    "status": "ok, failed or unsupported.",
    "error": "Why a run failed or is not supported.",
    "quality_ranked": "Whether its quality may enter ranks, fronts, gates and findings: not where "
    "weights were quantised a second time, or are random. In the rows of a filter yes or no.",
    "warnings": "Warnings of the run and of its scoring runs.",
    "started_at": "When the run began.",
    "licence": "Licence of the record.",
    "metric": "Name of the metric that a row is about.",
    "value": "Value of that metric; empty where it was not measured.",
    "unit": "Unit of that value and of its interval.",
    "summary": "Which statistic of the samples the value is.",
    "provenance": "Where a value comes from: measured, counted, modelled or simulated.",
    "reason": "Why there is no value, or no interval.",
    "METRIC__low": "Lower end of the metric's 95% interval; empty where there is none.",
    "METRIC__high": "Upper end of the metric's 95% interval; empty where there is none.",
    "METRIC__n": "Number of samples behind the metric's value.",
    "METRIC__provenance": "Where the metric's value comes from.",
    "METRIC__reason": "Why the metric has no value, or no interval.",
    "METRIC__ratio": "Candidate / baseline, from the record's own comparison of paired rounds; "
    "empty for a baseline and where there is none. A metric without a better direction has no "
    "such column.",
    "METRIC__ratio_low": "Lower end of the ratio's 95% interval; empty where there is none.",
    "METRIC__ratio_high": "Upper end of the ratio's 95% interval; empty where there is none.",
    "METRIC__ratio_n": "Pairs behind the ratio.",
    "METRIC__verdict": "What the ratio's interval allows one to say: better, worse, no difference "
    "shown, or undecided.",
    "METRIC__doubts": "Why to doubt that verdict; empty where nothing speaks against it.",
}
"""``METRIC`` stands for the name of any metric."""

COLUMN_UNITS: Mapping[str, str] = {
    "threads": "1",
    "METRIC__n": "1",
    "METRIC__ratio": "1",
    "METRIC__ratio_low": "1",
    "METRIC__ratio_high": "1",
    "METRIC__ratio_n": "1",
}
