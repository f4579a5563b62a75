// The rows of the present filter and the shown columns as a file: CSV, JSON or Parquet. It is made here,
// of what the page has loaded, and asks for nothing else. What its columns mean: results/column_docs.py.
"use strict";

const FORMATS = {
  csv: { type: "text/csv;charset=utf-8", make: csvFile },
  json: { type: "application/json", make: jsonFile },
  parquet: { type: "application/vnd.apache.parquet", make: parquetFile },
};
// As results/export.py: a spreadsheet reads text that begins so as a formula (OWASP, CSV injection).
const FORMULA_START = /^[=+\-@\t\r\n]/;
const ABOUT = "Rows of a leanboard leaderboard; values, intervals and ratios have six significant digits.";
// What the filters let through where nothing is chosen.
const UNFILTERED = { status: "ok", gate: "not failed" };
// Columns of the file, and the texts of the board that they hold.
const TEXTS = {
  model: "model", family: "family", technique: "technique", technique_label: "techniqueText",
  workload: "workload", workload_label: "workloadText", backend: "backend", backend_label: "backendText",
  device: "device", origin: "origin", status: "status", error: "reason", stability_causes: "unstable",
  gate_reason: "gateReason",
};

// Whose each row is.
function identifyingColumns(rows) {
  const text = (name, valueOf) => ({ name, type: "text", values: rows.map(valueOf) });
  // The address ends with MACHINE/CELL/RUN, and .html where every run has a page.
  const part = (row, fromEnd) => decodeURIComponent(LEANBOARD.href[row].split(/[=/]/).at(-fromEnd));
  const yes = (flag) => (flag ? "yes" : "no");
  const { machine, gate } = LEANBOARD.texts;
  return [
    text("run_id", (row) => part(row, 1).replace(/\.html$/, "")),
    text("cell_id", (row) => part(row, 2)),
    text("machine", (row) => textOf(machine, row)),
    ...Object.entries(TEXTS).map(([name, from]) =>
      text(name, (row) => textOf(LEANBOARD.texts[from], row) || null)),
    text("gate", (row) => (LEANBOARD.gates[textOf(gate, row)] ? textOf(gate, row) : null)),
    text("baseline", (row) => yes(LEANBOARD.baseline[row])),
    text("quality_ranked", (row) => yes(LEANBOARD.ranked[row])),
  ];
}

// What a metric says of each row, and how the row stands against its baseline. What has no better
// direction has no ratio.
function metricColumns(rows, [metric, place]) {
  const cells = LEANBOARD.cells[place];
  const parts = metric.direction === "neutral" ? valueParts(metric, cells)
    : [...valueParts(metric, cells), ...ratioParts(cells)];
  return parts.map(([ending, type, valueOf, unit]) =>
    ({ name: `${metric.name}${ending}`, type, values: rows.map(valueOf), unit }));
}

function valueParts({ unit }, { value, low, high, n, provenance, reason }) {
  return [
    ["", "real", (row) => value[row], unit],
    ["__low", "real", (row) => low[row], unit],
    ["__high", "real", (row) => high[row], unit],
    ["__n", "whole", (row) => (value[row] === null ? null : n[row])],
    ["__provenance", "text", (row) => textOf(provenance, row) || null],
    ["__reason", "text", (row) => textOf(reason, row) || null],
  ];
}

function ratioParts({ ratio, ratioLow, ratioHigh, ratioN, verdict, doubts }) {
  return [
    ["__ratio", "real", (row) => ratio[row], "1"],
    ["__ratio_low", "real", (row) => ratioLow[row], "1"],
    ["__ratio_high", "real", (row) => ratioHigh[row], "1"],
    ["__ratio_n", "whole", (row) => (ratio[row] === null ? null : ratioN[row])],
    ["__verdict", "text", (row) => textOf(verdict, row) || null],
    ["__doubts", "text", (row) => textOf(doubts, row) || null],
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

function jsonFile(columns, about) {
  const rows = columns[0].values.map((_, row) =>
    Object.fromEntries(columns.map((column) => [column.name, column.values[row]])));
  return `${JSON.stringify({ ...about, rows }, null, 1)}\n`;
}

// What a file says of itself, where its format has a place for that.
function aboutFile(columns, filter) {
  const units = Object.fromEntries(columns.filter((c) => c.unit !== undefined).map((c) => [c.name, c.unit]));
  return { about: ABOUT, licence: "CC-BY-4.0", filter: { ...UNFILTERED, ...filter }, units };
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
  const sorted = metricPlace(state.sort);
  const places = [...metrics.map(([, place]) => place), ...(sorted >= 0 ? [sorted] : [])];
  try {
    await loadMetrics(places);
  } catch (error) {
    return error.message;
  }
  const rows = sortedRows(matchingRows(state), state);
  const measured = metrics.flatMap((metric) => metricColumns(rows, metric));
  const columns = [...identifyingColumns(rows), ...measured];
  const filter = chosenFilter(state);
  const name = fileName(filter, format);
  const { type, make: made } = FORMATS[format];
  handOver(new Blob([made(columns, aboutFile(columns, filter))], { type }), name);
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
