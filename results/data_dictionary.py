"""What every column of the tables to download means."""

from __future__ import annotations

from collections.abc import Sequence

from leanboard.metrics.registry import METRICS
from leanboard.results.column_docs import COLUMN_DOCS, COLUMN_UNITS
from leanboard.results.derived_columns import DERIVED
from leanboard.results.export_cells import Cells, in_order
from leanboard.results.export_comparisons import COMPARISON_DOCS
from leanboard.results.gates import GATE_DOCS
from leanboard.results.reliability import DOCS, UNITS
from leanboard.results.table import Row

DICTIONARY_COLUMNS = ("metric", "unit", "direction", "doc", "source")


def data_dictionary(rows: Sequence[Row]) -> list[Cells]:
    """Describe every metric, what derives from it, and the columns beside them."""
    described = {
        m.name: {"unit": m.unit, "direction": m.direction.value, "doc": m.doc, "source": m.source}
        for m in METRICS
    }
    for name, column in DERIVED.items():
        described[name] = {
            "unit": column.unit,
            "direction": column.direction.value,
            "doc": column.doc,
            "source": column.source,
        }
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, measurement in row.measurements.items():
            found.setdefault(name, set()).add(measurement.unit)
    for name in found.keys() - described.keys():
        task, _, metric = name.rpartition(".")
        base = described.get(metric, {"direction": "", "doc": "", "source": ""})
        # Of a metric that is not known every record may use another unit.
        unit = " or ".join(sorted(found[name]))
        described[name] = {**base, "unit": unit, "doc": f"On {task}: {base['doc']}"}
    units = {**UNITS, **COLUMN_UNITS}
    for name, doc in {**DOCS, **GATE_DOCS, **COMPARISON_DOCS, **COLUMN_DOCS}.items():
        plain = {"unit": units.get(name, ""), "direction": "", "doc": doc, "source": "leanboard"}
        described.setdefault(name, plain)
    return [{"metric": name, **described[name]} for name in in_order(described)]
