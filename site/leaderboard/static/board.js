// The leaderboard: filters, sorting, ranks, choice of columns and paging over the rows.
"use strict";

const DEFAULT_COLUMNS = LEANBOARD.metrics.filter((m) => m.shown).map((m) => m.name).join(",");
const TEXT_COLUMNS = [
  ["technique", "Technique"], ["workload", "Workload"], ["backend", "Backend"], ["hardware", "Hardware"],
];
const DIRECTIONS = ["asc", "desc"];
const NO_RANKS = "Ranks need one hardware and one workload, in one variant: other rows cannot be compared.";

// Whether the rows are still those that the server drew: they need not be drawn again.
const view = { form: null, table: null, fill: null, pager: null, state: {}, page: 0, served: true };
const drawLoaded = drawsWhenLoaded(tell);

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

function drawRow(row, metrics, ranks) {
  const { texts, baseline, href } = LEANBOARD;
  const name = make("th", { scope: "row" });
  if (ranks.has(row)) name.append(drawRank(ranks.get(row)), " ");
  name.append(make("a", { href: href[row] }, textOf(texts.techniqueText, row)));
  if (baseline[row]) name.append(" ", make("span", { class: "badge plain" }, "baseline"));
  const unstable = textOf(texts.unstable, row);
  if (unstable) name.append(" ", drawUnstable(unstable));
  name.append(make("small", {}, textOf(texts.model, row)));
  const context = [texts.workloadText, texts.backendText, texts.device].map((text) => textOf(text, row));
  name.append(make("small", { class: "phone" }, context.join(" \u00b7 ")), ...drawFailedGate(row));
  const machine = textOf(texts.machine, row);
  const hardware = make("td", { class: "context hardware" }, textOf(texts.device, row));
  hardware.append(make("small", { title: machine }, machine));
  const plain = [texts.workloadText, texts.backendText].map((text) =>
    make("td", { class: "context" }, textOf(text, row)));
  const line = make("tr", {}, name, ...plain, hardware);
  const status = textOf(texts.status, row);
  if (status === "ok") {
    line.append(...metrics.map(([, place]) => drawCell(place, row, view.state.ratios === "1")));
  } else if (metrics.length) {
    const badge = make("span", { class: "badge bad" }, status);
    const attributes = { colspan: metrics.length, class: "reason" };
    line.append(make("td", attributes, badge, " ", textOf(texts.reason, row)));
  }
  line.append(make("td", {}, make("span", { class: "badge plain" }, textOf(texts.origin, row))));
  return line;
}

function draw() {
  const places = shownMetrics(view.state).map(([, place]) => place);
  const sorted = metricPlace(view.state.sort);
  return drawLoaded(sorted >= 0 ? [...places, sorted] : places, drawNow);
}

function drawNow() {
  view.served = false;
  const { state } = view;
  const { shown, hidden } = siftedRows(state);
  const rows = sortedRows(shown, state);
  const metrics = shownMetrics(state);
  const sorted = metricPlace(state.sort);
  const ranked = sorted >= 0 && rows.length > 0 && comparableRows(rows);
  const { ranks, untold } = ranked ? ranksBeside(rows[0], sorted) : { ranks: new Map(), untold: 0 };
  const widths = columnWidths(view.table);
  // Set before anything changes: the frame after shows the first rows.
  view.table.closest(".scroller").scrollTop = 0;
  drawAround(metrics, rows.length, hidden);
  const { pageRows } = LEANBOARD;
  const page = rows.slice(view.page * pageRows, (view.page + 1) * pageRows);
  view.fill(page, (row) => drawRow(row, metrics, ranks), widths);
  if (!rows.length) view.table.tBodies[0].append(emptyRow(metrics.length + TEXT_COLUMNS.length + 1));
  const note = ranked ? rankNote(rows, sorted, ranks, untold) : NO_RANKS;
  document.getElementById("no-ranks").textContent = sorted >= 0 && rows.length ? note : "";
}

// Why the rows shown have no ranks on a metric, or no medals; empty where they can have both.
function rankNote(rows, place, ranks, untold) {
  if (!rows.some((row) => ranks.has(row))) return whyNoRanks(rows, place);
  const { label } = LEANBOARD.metrics[place];
  const won = [...ranks.values()].some(({ medal }) => medal);
  const where = "on this hardware and workload without an interval, taken as known to a factor of two";
  return untold && !won ? `No medals by ${label}: ${formatCount(untold, "row")} ${where}.` : "";
}

// Draws all but the rows: heads that sort, how many rows fit, which are hidden, and the pager.
function drawAround(metrics, count, hidden) {
  const pages = pagesOf(count);
  view.page = Math.min(view.page, pages - 1);
  drawHead(metrics, view.state);
  tell(`${count} of ${LEANBOARD.rows} rows`);
  tellHidden(hidden);
  view.pager.hidden = pages === 1;
  view.pager.querySelector("span").textContent = `page ${view.page + 1} of ${pages}`;
}

// Whether the rows that the server drew are what the state asks for.
function asServed() {
  const { page, ...choices } = view.state;
  const chosen = Object.values(choices).some((value) => value !== "");
  const { dataset, tBodies } = view.table;
  return view.served && !chosen && (page || "1") === dataset.page && tBodies[0].rows.length > 0;
}

// Keeps the rows of the server; the values are fetched for whatever is asked for next.
function keepServed() {
  const metrics = shownMetrics(view.state);
  const { shown, hidden } = siftedRows(view.state);
  drawAround(metrics, shown.length, hidden);
  return drawLoaded(metrics.map(([, place]) => place), () => {});
}

function tell(text) {
  document.getElementById("count").textContent = text;
}

// Says how many rows fit the filters but show on demand only, and why; the button beside shows them.
function tellHidden(hidden) {
  const parts = LEANBOARD.onDemand.filter((why) => hidden.has(why))
    .map((why) => `${formatNumber(hidden.get(why), 0)} ${why}`);
  document.getElementById("hidden-rows").textContent = parts.length ? `Not shown: ${parts.join(", ")}.` : "";
  document.getElementById("show-all").hidden = parts.length === 0;
}

function emptyRow(columns) {
  const text = "No row fits these filters: change one, or reset them.";
  return make("tr", {}, make("td", { colspan: columns, class: "reason" }, text));
}

function change(changes) {
  view.page = 0;
  view.state = { ...view.state, page: pageText(), ...changes };
  if (view.state.cols === DEFAULT_COLUMNS) delete view.state.cols;
  shareBoard();
  return draw();
}

function shareBoard() {
  const defaults = { cols: DEFAULT_COLUMNS, ...servedState() };
  shareState({ cols: DEFAULT_COLUMNS, ...view.state }, defaults);
}

// What the page shows as it begins: a further page of the table begins with its own rows.
function servedState() {
  const { page } = view.table.dataset;
  return page === "1" ? {} : { page };
}

// The page of the table as the address says it: nothing for the first, unless the file is a further one.
function pageText() {
  return view.page === 0 && !servedState().page ? "" : String(view.page + 1);
}

// The state of the address, or that which the page begins with.
function boardState(state) {
  return Object.keys(state).length ? state : servedState();
}

// Shows the hidden rows too. The button goes away then: the focus goes to the table.
async function showAll() {
  const { status, gate } = view.form.elements;
  for (const control of [status, gate]) control.value ||= "all";
  await change({ status: status.value, gate: gate.value });
  view.table.closest(".scroller").focus();
}

async function sortBy(name) {
  const { sort, dir } = view.state;
  const turned = DIRECTIONS.find((other) => other !== dir);
  view.form.elements.sort.value = name;
  await change({ sort: name, dir: sort === name ? turned : firstDirection(name) });
  view.table.querySelector(`button[data-sort="${CSS.escape(name)}"]`).focus();
}

function turn(step) {
  view.page = Math.max(0, view.page + step);
  view.state.page = pageText();
  shareBoard();
  return draw();
}

// Puts the state of the address into the controls and draws.
function restore(state) {
  const unmet = restoreControls(view.form, state, { others: ["dir", "cols", "page"] });
  const kept = [...view.form.elements].filter((control) => control.name);
  const { dir = "", cols, page = "" } = state;
  view.state = Object.fromEntries(kept.map((control) => [control.name, controlValue(control)]));
  const { sort } = view.state;
  const given = DIRECTIONS.includes(dir) ? dir : firstDirection(sort);
  Object.assign(view.state, { dir: sort && given, page });
  if (cols !== undefined) view.state.cols = cols;
  view.page = Math.max(0, (Number.parseInt(page, 10) || 1) - 1);
  drawPicker();
  tellUnmet([...unmet, ...unmetOrder(dir), ...unmetColumns(cols), ...unmetPage(page)]);
  return asServed() ? keepServed() : draw();
}

function unmetOrder(dir) {
  if (dir === "" || DIRECTIONS.includes(dir)) return [];
  return [unmetText(`the direction ${quoted(dir)}`, "which is none", "the first one is taken")];
}

function unmetColumns(cols) {
  const names = (cols ?? "none").split(",").filter((name) => name !== "none" && metricPlace(name) < 0);
  return names.map((name) =>
    unmetText(`the column ${quoted(name)}`, "which is not on this board", "it is left out"));
}

function unmetPage(page) {
  if (page === "") return [];
  const pages = pagesOf(siftedRows(view.state).shown.length);
  if (/^[1-9]\d*$/.test(page) && Number(page) <= pages) return [];
  const shown = `page ${Math.min(view.page + 1, pages)} is shown`;
  return [unmetText(`page ${quoted(page)}`, `which is none of 1 to ${pages}`, shown)];
}

function pagesOf(count) {
  return Math.max(1, Math.ceil(count / LEANBOARD.pageRows));
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
    const { name } = event.target;
    const value = controlValue(event.target);
    const dir = value && firstDirection(value);
    change(name === "sort" ? { sort: value, dir } : { [name]: value });
  }
}

function startBoard() {
  view.form = document.getElementById("filters");
  view.table = document.getElementById("board");
  if (!view.table) return;
  view.fill = fillsInSteps(view.table);
  view.pager = document.getElementById("pager");
  view.form.hidden = false;
  for (const id of ["others", "pages"]) document.getElementById(id)?.remove();
  view.form.addEventListener("input", onInput);
  view.form.addEventListener("submit", (event) => event.preventDefault());
  view.form.addEventListener("reset", (event) => {
    event.preventDefault();
    writeState({});
    void restore(servedState());
  });
  view.table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-sort]");
    if (button) void sortBy(button.dataset.sort);
  });
  document.getElementById("show-all").addEventListener("click", () => void showAll());
  view.pager.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step ?? 0);
    if (step) void turn(step);
  });
  onState((state) => restore(boardState(state)));
  void restore(boardState(readState()));
}

startBoard();
