// The rows of the present filter and the shown columns as a file: CSV, JSON or Parquet. It is made here,
// of what the page has loaded, and asks for nothing else.
"use strict";

const FORMATS = {
  csv: { type: "text/csv;charset=utf-8", make: csvFile },
  json: { type: "application/json", make: jsonFile },
  parquet: { type: "application/vnd.apache.parquet", make: parquetFile },
};
// As results/export.py: a spreadsheet reads text that begins so as a formula (OWASP, CSV injection).
const FORMULA_START = /^[=+\-@\t\r\n]/;
// Columns of the file, and the texts of the board that they hold.
const TEXTS = {
  model: "model", family: "family", technique: "technique", technique_label: "techniqueText",
  workload: "workload", workload_label: "workloadText", backend: "backend", backend_label: "backendText",
  device: "device", origin: "origin", status: "status", error: "reason", stability_causes: "unstable",
  gate: "gate",
};

// Whose each row is.
function identifyingColumns(rows) {
  const text = (name, valueOf) => ({ name, type: "text", values: rows.map(valueOf) });
  // The address ends with MACHINE/CELL/RUN, and .html where every run has a page.
  const part = (row, fromEnd) => decodeURIComponent(LEANBOARD.href[row].split(/[=/]/).at(-fromEnd));
  const yes = (flag) => (flag ? "yes" : "no");
  return [
    text("run_id", (row) => part(row, 1).replace(/\.html$/, "")),
    text("cell_id", (row) => part(row, 2)),
    text("machine", (row) => textOf(LEANBOARD.texts.machine, row)),
    ...Object.entries(TEXTS).map(([name, from]) =>
      text(name, (row) => textOf(LEANBOARD.texts[from], row) || null)),
    text("baseline", (row) => yes(LEANBOARD.baseline[row])),
    text("quality_ranked", (row) => yes(LEANBOARD.ranked[row])),
  ];
}

// What a metric says of each row: value, interval, n, provenance, and the reason for a gap.
function metricColumns(rows, [metric, place]) {
  const cells = LEANBOARD.cells[place];
  const measured = (row) => cells.value[row] !== null;
  const column = (ending, type, valueOf) => {
    const unit = type === "real" ? metric.unit : undefined;
    return { name: `${metric.name}${ending}`, type, values: rows.map(valueOf), unit };
  };
  return [
    column("", "real", (row) => cells.value[row]),
    column("__low", "real", (row) => cells.low[row]),
    column("__high", "real", (row) => cells.high[row]),
    column("__n", "whole", (row) => (measured(row) ? cells.n[row] : null)),
    column("__provenance", "text", (row) => textOf(cells.provenance, row) || null),
    column("__reason", "text", (row) => textOf(cells.reason, row) || null),
  ];
}

// RFC 4180: fields with commas, quotes or line ends stand in quotes, quotes are doubled.
function csvField(value) {
  if (value === null) return "";
  const guarded = typeof value === "string" && FORMULA_START.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
}

function csvFile(columns) {
  const lines = [columns.map((column) => csvField(column.name))];
  columns[0].values.forEach((_, row) => lines.push(columns.map((column) => csvField(column.values[row]))));
  return lines.map((fields) => `${fields.join(",")}\r\n`).join("");
}

function jsonFile(columns, filter) {
  const rows = columns[0].values.map((_, row) =>
    Object.fromEntries(columns.map((column) => [column.name, column.values[row]])));
  const units = Object.fromEntries(columns.filter((c) => c.unit !== undefined).map((c) => [c.name, c.unit]));
  const about = "Rows of a leanboard leaderboard; values and intervals have six significant digits.";
  return `${JSON.stringify({ about, licence: "CC-BY-4.0", filter, units, rows }, null, 1)}\n`;
}

// What was chosen, without what is at its default, and without the page that is shown.
function chosenFilter(state) {
  const pairs = Object.entries(state).filter(([name, value]) => name !== "page" && value !== "");
  return Object.fromEntries(pairs.sort(([a], [b]) => (a < b ? -1 : 1)));
}

// The name of a file: the same filter has the same name.
function fileName(filter, format) {
  const hash = fnv1a(new URLSearchParams(filter).toString()).toString(16).padStart(8, "0");
  return `leanboard-${hash}.${format}`;
}

async function saveRows(format) {
  const { state } = view;
  const metrics = shownMetrics(state);
  const places = [...metrics.map(([, place]) => place), metricPlace(state.sort)].filter((place) => place >= 0);
  try {
    await loadMetrics(places);
  } catch (error) {
    return error.message;
  }
  const rows = sortedRows(matchingRows(state), state);
  const columns = [...identifyingColumns(rows), ...metrics.flatMap((metric) => metricColumns(rows, metric))];
  const filter = chosenFilter(state);
  const name = fileName(filter, format);
  const { type, make: made } = FORMATS[format];
  handOver(new Blob([made(columns, filter)], { type }), name);
  return `${formatCount(rows.length, "row")} in ${name}`;
}

// Gives the reader a file by a link that is clicked for them.
function handOver(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function startSaving() {
  const save = document.getElementById("save");
  if (!save) return;
  save.hidden = false;
  save.addEventListener("click", async (event) => {
    const { format } = event.target.dataset;
    if (format) document.getElementById("saved").textContent = await saveRows(format);
  });
}

startSaving();
