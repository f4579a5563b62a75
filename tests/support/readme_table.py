"""The README's table of one real run, made from the published records.

To write it anew after publishing: python tests/support/readme_table.py
"""

from __future__ import annotations

from pathlib import Path

from leanboard.results.published import published_root
from leanboard.results.schema import PerformanceCell, Status
from leanboard.results.store import Store
from leanboard.results.table import Row, table

BEGIN, END = "<!-- results -->", "<!-- /results -->"
README = Path(__file__).resolve().parents[2] / "README.md"
_WORKLOAD = "chat"
_ORDER = {"transformers": 0, "llamacpp": 1}


def results_table() -> str:
    """Return the quickstart's rows on the chat workload as a Markdown table."""
    rows = [
        row
        for row in table(Store(published_root(), "published").entries())
        if row.status is Status.OK
        and row.workload == _WORKLOAD
        and row.record.block.suite == "quickstart"
    ]
    rows.sort(key=lambda row: (_ORDER[row.backend], row.record.block.arms.index(row.label)))
    head = (
        "| backend | arm | TTFT ms | TPOT ms | TPOT against baseline, 95% | peak MiB | "
        "bits per byte |\n|---|---|---:|---:|---:|---:|---:|"
    )
    return "\n".join([_caption(rows[0]), "", head, *map(_line, rows)])


def _caption(row: Row) -> str:
    record = row.record
    cell = record.cell
    assert isinstance(cell, PerformanceCell)
    return (
        f"One real run: {cell.model.name}, {cell.workload.prompt_tokens} prompt tokens and "
        f"{cell.workload.output_tokens} out, batch {cell.workload.batch_size}, "
        f"{cell.device.threads} threads of an {record.environment.cpu.name} "
        f"({record.times.started_at:%Y-%m-%d})."
    )


def _line(row: Row) -> str:
    name = row.label + (" (baseline)" if row.record.block.baseline else "")
    values = (
        f"{_value(row, 'ttft_s') * 1e3:.0f}",
        f"{_value(row, 'tpot_s') * 1e3:.1f}",
        _ratio(row),
        f"{_value(row, 'peak_memory_bytes') / 2**20:.0f}",
        f"{_value(row, 'squad-passages.bits_per_byte'):.3f}",
    )
    return f"| {row.backend} | {name} | {' | '.join(values)} |"


def _value(row: Row, metric: str) -> float:
    value = row.measurements[metric].value
    assert value is not None, (row.label, metric)
    return value


def _ratio(row: Row) -> str:
    found = row.comparison("tpot_s")
    if found is None or found.value is None or found.interval is None:
        return ""
    return f"{found.value:.2f} [{found.interval.low:.2f}, {found.interval.high:.2f}]"


def readme_with_table(text: str) -> str:
    """Return the README with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    between, _, after = rest.partition(END)
    picture = between[between.index("[![") :].strip() if "[![" in between else ""
    return f"{before}{BEGIN}\n{results_table()}\n\n{picture}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(readme_with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
