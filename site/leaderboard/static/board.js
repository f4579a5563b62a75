// The leaderboard: filters, sorting, choice of columns and paging over the data in data.js.
"use strict";

const PAGE_ROWS = 200;
const DEFAULT_COLUMNS = LEANBOARD.metrics.filter((m) => m.shown).map((m) => m.name).join(",");
const TEXT_COLUMNS = [
  ["technique", "Technique"], ["workload", "Workload"], ["backend", "Backend"], ["hardware", "Hardware"],
];

const view = { form: null, table: null, pager: null, state: {}, page: 0 };

// Rows that pass every filter and hold every word of the search.
function matchingRows(state) {
  const words = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const status = state.status || "ok";
  const found = [];
  for (let row = 0; row < LEANBOARD.rows; row += 1) {
    if (status !== "all" && textOf(LEANBOARD.texts.status, row) !== status) continue;
    if (!LEANBOARD.filters.every((f) => !state[f] || textOf(LEANBOARD.texts[f], row) === state[f])) {
      continue;
    }
    const text = Object.values(LEANBOARD.texts).map((t) => textOf(t, row)).join(" ").toLowerCase();
    if (words.every((word) => text.includes(word))) found.push(row);
  }
  return found;
}

// Rows in order. Estimates come after what was measured and are never mixed with it; what was not
// measured comes last, whichever way the rest goes.
function sortedRows(rows, state) {
  if (!state.sort) return rows;
  const sign = state.dir === "desc" ? -1 : 1;
  const metric = LEANBOARD.metrics.findIndex((m) => m.name === state.sort);
  if (metric >= 0) {
    const { value, estimate } = LEANBOARD.cells[metric];
    const kind = (row) => (value[row] === null ? 2 : textOf(estimate, row) ? 1 : 0);
    return [...rows].sort((a, b) =>
      kind(a) - kind(b) || sign * ((value[a] ?? 0) - (value[b] ?? 0)) || a - b);
  }
  if (!Object.hasOwn(LEANBOARD.texts, state.sort)) return rows;
  const texts = LEANBOARD.texts[state.sort];
  return [...rows].sort((a, b) => sign * (texts.rows[a] - texts.rows[b]) || a - b);
}

function shownMetrics(state) {
  const names = (state.cols ?? DEFAULT_COLUMNS).split(",");
  return LEANBOARD.metrics.map((m, place) => [m, place]).filter(([m]) => names.includes(m.name));
}

function drawHead(metrics, state) {
  const heads = TEXT_COLUMNS.map(([name, title]) =>
    headCell(name, [title], state, name === "technique" ? {} : { class: "context" }));
  for (const [m] of metrics) {
    const title = [m.short, " ", make("span", { "aria-hidden": "true" }, m.arrow)];
    if (m.suffix) title.push(" ", make("small", {}, m.suffix));
    heads.push(headCell(m.name, title, state, { class: "number", title: `${m.label}, ${m.better}` }));
  }
  heads.push(headCell("origin", ["Source"], state));
  view.table.tHead.rows[0].replaceChildren(...heads);
}

function headCell(name, title, state, attributes = {}) {
  const sorted = state.sort === name;
  const direction = state.dir === "desc" ? "descending" : "ascending";
  const button = make("button", { type: "button", "data-sort": name }, ...title);
  const cell = make("th", { scope: "col", ...attributes }, button);
  if (sorted) cell.setAttribute("aria-sort", direction);
  return cell;
}

function drawRow(row, metrics) {
  const { texts, baseline, href } = LEANBOARD;
  const name = make("th", { scope: "row" }, make("a", { href: href[row] }, textOf(texts.techniqueText, row)));
  if (baseline[row]) name.append(" ", make("span", { class: "badge plain" }, "baseline"));
  const unstable = textOf(texts.unstable, row);
  if (unstable) name.append(" ", drawUnstable(unstable));
  name.append(make("small", {}, textOf(texts.model, row)));
  const context = [texts.workloadText, texts.backendText, texts.device].map((text) => textOf(text, row));
  name.append(make("small", { class: "phone" }, context.join(" \u00b7 ")));
  const machine = textOf(texts.machine, row);
  const hardware = make("td", { class: "context hardware" }, textOf(texts.device, row));
  hardware.append(make("small", { title: machine }, machine));
  const plain = [texts.workloadText, texts.backendText].map((text) =>
    make("td", { class: "context" }, textOf(text, row)));
  const line = make("tr", {}, name, ...plain, hardware);
  const status = textOf(texts.status, row);
  if (status === "ok") {
    line.append(...metrics.map(([metric, place]) => drawCell(metric, LEANBOARD.cells[place], row)));
  } else if (metrics.length) {
    const badge = make("span", { class: "badge bad" }, status);
    line.append(make("td", { colspan: metrics.length, class: "reason" }, badge, " ", textOf(texts.reason, row)));
  }
  line.append(make("td", {}, make("span", { class: "badge plain" }, textOf(texts.origin, row))));
  return line;
}

// The mark of an unstable run: its causes unfold, by pointer and by keyboard.
function drawUnstable(causes) {
  const mark = make("summary", { class: "badge bad" }, "unstable");
  return make("details", { class: "mark" }, mark, make("small", {}, causes));
}

function drawCell(metric, cells, row) {
  const value = cells.value[row];
  const title = textOf(cells.title, row);
  if (value === null) {
    const dash = make("span", { "aria-hidden": "true" }, DASH);
    return make("td", { class: "number null", title }, dash, make("span", { class: "hidden" }, title));
  }
  const cell = make("td", { class: "number", title });
  const estimate = textOf(cells.estimate, row);
  if (estimate) cell.append(make("span", { class: "badge" }, estimate), " ");
  if (cells.unranked[row]) {
    cell.append(make("span", { class: "badge plain", title: LEANBOARD.unranked }, "not ranked"), " ");
  }
  if (cells.gain[row] !== null) cell.append(drawGain(cells, row), " ");
  if (metric.gated) cell.append(...drawGate(row));
  cell.append(make("span", { class: "value" }, formatNumber(value * metric.factor)));
  const spanned = cells.low[row] !== null && cells.high[row] !== null;
  const span = spanned ? formatSpan(cells.low[row], cells.high[row], metric.factor) : "";
  cell.append(make("small", { class: "span" }, span));
  if (!estimate && metric.largest > 0) cell.append(drawBar(metric, value, cells, row, spanned));
  return cell;
}

// The gate's mark: whether enough of the baseline's accuracy is kept.
function drawGate(row) {
  const text = textOf(LEANBOARD.texts.gate, row);
  const title = textOf(LEANBOARD.gateTitle, row);
  return text ? [make("span", { class: `badge ${LEANBOARD.gates[text]}`, title }, text), " "] : [];
}

function drawGain(cells, row) {
  const verdict = textOf(cells.verdict, row);
  const doubted = cells.doubted[row];
  const plain = { better: "better", worse: "worse", "no difference shown": "same" }[verdict] ?? "undecided";
  const doubt = doubted ? LEANBOARD.doubt : "";
  const text = `${LEANBOARD.glyphs[verdict]} ${formatNumber(cells.gain[row], 2)}\u00d7${doubt}`.trimStart();
  const title = textOf(cells.gainTitle, row);
  return make("span", { class: `gain ${doubted ? "doubted" : plain}`, title }, text);
}

// A bar from zero to the value, and the interval as a dark stroke inside it.
function drawBar(metric, value, cells, row, spanned) {
  const scale = LEANBOARD.barWidth / metric.largest;
  const svg = make("svg", {
    class: "mini", viewBox: `0 0 ${LEANBOARD.barWidth} 5`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  svg.append(make("rect", { class: "mini-bar", width: Math.max(0, value * scale), height: 5 }));
  if (spanned) {
    const start = Math.max(0, cells.low[row] * scale);
    const width = Math.max(LEANBOARD.markWidth, cells.high[row] * scale - start);
    svg.append(make("rect", { class: "mini-span", x: start, width, height: 5 }));
  }
  return svg;
}

function draw() {
  const { state } = view;
  const rows = sortedRows(matchingRows(state), state);
  const metrics = shownMetrics(state);
  const pages = Math.max(1, Math.ceil(rows.length / PAGE_ROWS));
  view.page = Math.min(view.page, pages - 1);
  const shown = rows.slice(view.page * PAGE_ROWS, (view.page + 1) * PAGE_ROWS);
  drawHead(metrics, state);
  view.table.tBodies[0].replaceChildren(...shown.map((row) => drawRow(row, metrics)));
  if (!rows.length) view.table.tBodies[0].append(emptyRow(metrics.length + TEXT_COLUMNS.length + 1));
  document.getElementById("count").textContent = `${rows.length} of ${LEANBOARD.rows} rows`;
  view.pager.hidden = pages === 1;
  view.pager.querySelector("span").textContent = `page ${view.page + 1} of ${pages}`;
}

function emptyRow(columns) {
  const text = "No row fits these filters: change one, or reset them.";
  return make("tr", {}, make("td", { colspan: columns, class: "reason" }, text));
}

function change(changes) {
  view.state = { ...view.state, ...changes };
  view.page = 0;
  if (view.state.cols === DEFAULT_COLUMNS) delete view.state.cols;
  writeState(view.state);
  draw();
}

function sortBy(name) {
  const again = view.state.sort === name;
  change({ sort: name, dir: again && view.state.dir !== "desc" ? "desc" : "asc" });
  view.table.querySelector(`button[data-sort="${CSS.escape(name)}"]`).focus();
}

// Puts the state of the address into the controls and draws.
function restore(state) {
  for (const control of view.form.elements) {
    if (control.name) setControl(control, state[control.name] ?? "");
  }
  const kept = [...view.form.elements].filter((control) => control.name);
  const { sort = "", dir = "", cols } = state;
  view.state = Object.fromEntries(kept.map((control) => [control.name, controlValue(control)]));
  Object.assign(view.state, { sort, dir }, cols === undefined ? {} : { cols });
  view.page = 0;
  drawPicker();
  draw();
}

function drawPicker() {
  const chosen = new Set(shownMetrics(view.state).map(([metric]) => metric.name));
  const boxes = LEANBOARD.metrics.map((metric) => {
    const box = make("input", { type: "checkbox", "data-column": metric.name });
    box.checked = chosen.has(metric.name);
    return make("label", { class: "check" }, box, ` ${metric.label}`);
  });
  const field = document.getElementById("columns");
  field.replaceChildren(field.querySelector("legend"), ...boxes);
}

function onInput(event) {
  if (event.target.dataset.column !== undefined) {
    const boxes = [...document.querySelectorAll("#columns input:checked")];
    change({ cols: boxes.map((box) => box.dataset.column).join(",") || "none" });
  } else {
    change({ [event.target.name]: controlValue(event.target) });
  }
}

function startBoard() {
  view.form = document.getElementById("filters");
  view.table = document.getElementById("board");
  if (!view.table) return;
  view.pager = document.getElementById("pager");
  view.form.hidden = false;
  for (const id of ["others", "more"]) document.getElementById(id)?.remove();
  view.form.addEventListener("input", onInput);
  view.form.addEventListener("submit", (event) => event.preventDefault());
  view.form.addEventListener("reset", (event) => {
    event.preventDefault();
    writeState({});
    restore({});
  });
  view.table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-sort]");
    if (button) sortBy(button.dataset.sort);
  });
  view.pager.addEventListener("click", (event) => {
    view.page += Number(event.target.dataset.step ?? 0);
    draw();
  });
  onState(restore);
  restore(readState());
}

startBoard();
