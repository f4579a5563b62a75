// The rows of the board: their texts come with data/board.js, the values of each metric in a script
// of their own, which is asked for when a page needs it.
"use strict";

const arriving = new Map();
const lowered = new Map();
// What a search leaves alone: words that many rows have in common.
const UNSEARCHED = new Set(["energy", "gate", "gateReason", "uses", "workloadChoice"]);

// The text of one row in a column of repeated texts.
function textOf(column, row) {
  return column.texts[column.rows[row]];
}

function metricPlace(name) {
  return LEANBOARD.metrics.findIndex((metric) => metric.name === name);
}

// Loads the values of the metrics at these places; fails with what to tell the reader.
function loadMetrics(places) {
  return Promise.all(places.map(loadMetric));
}

function loadMetric(place) {
  if (LEANBOARD.cells[place]) return undefined;
  if (!arriving.has(place)) {
    const script = loadScript(`data/metrics/${place}.js`);
    // One that failed is asked for again the next time.
    script.catch(() => arriving.delete(place));
    arriving.set(place, script);
  }
  return arriving.get(place);
}

// Gives a function that loads metrics and then draws; a later call overtakes an earlier one. The
// page is busy in between: what it shows is not yet what was asked for.
function drawsWhenLoaded(tell) {
  const main = document.querySelector("main");
  let asked = 0;
  return async (places, draw) => {
    const mine = asked += 1;
    main.setAttribute("aria-busy", "true");
    const failed = await loadMetrics(places).catch((error) => error);
    if (mine !== asked) return;
    if (failed instanceof Error) tell(failed.message);
    else draw();
    main.removeAttribute("aria-busy");
  };
}

function loadScript(address) {
  return new Promise((done, failed) => {
    const script = make("script", { src: address });
    script.addEventListener("load", done);
    const unread = new Error(`${address} cannot be read: is the site whole?`);
    script.addEventListener("error", () => failed(unread));
    document.head.append(script);
  });
}

// Whether a row ran and failed the gate: it has no rank then, and shows on demand only.
function failedGate(row) {
  const { status, gate } = LEANBOARD.texts;
  return textOf(gate, row) === "fail" && textOf(status, row) === "ok";
}

// The rows that pass every filter of the state and hold every word of its search. Those that did not run,
// and those that failed the gate, are shown on demand only: how many of them are hidden stands beside.
function siftedRows(state) {
  const fits = fittingFor(state);
  const shown = [];
  const hidden = new Map();
  for (let row = 0; row < LEANBOARD.rows; row += 1) {
    if (!fits(row)) continue;
    const why = hiddenAs(row, state);
    if (why) hidden.set(why, (hidden.get(why) ?? 0) + 1);
    else shown.push(row);
  }
  return { shown, hidden };
}

function matchingRows(state) {
  return siftedRows(state).shown;
}

// Why the state does not show a row that passes its filters; empty if it does.
function hiddenAs(row, { status, gate }) {
  if (!status && textOf(LEANBOARD.texts.status, row) !== "ok") return textOf(LEANBOARD.texts.status, row);
  return !gate && failedGate(row) ? LEANBOARD.failedGate : "";
}

// Tells of a row whether it passes what a reader chose and holds every word of the search.
function fittingFor(state) {
  const { filters } = LEANBOARD;
  const chosen = filters.filter((name) => state[name]);
  for (const name of ["status", "gate"]) if (state[name] && state[name] !== "all") chosen.push(name);
  const wanted = chosen.map((name) => chosenBy(name, state[name]));
  const words = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean).map(holdersOf);
  return (row) => wanted.every((fits) => fits(row))
    && words.every((columns) => columns.some(({ rows, holds }) => holds[rows[row]]));
}

// The rows that ran and that the state chooses by these names.
function chosenRows(state, names) {
  const wanted = names.filter((name) => state[name]).map((name) => chosenBy(name, state[name]));
  const { status } = LEANBOARD.texts;
  return [...Array(LEANBOARD.rows).keys()].filter((row) =>
    textOf(status, row) === "ok" && wanted.every((fits) => fits(row)));
}

// Tells of a row whether a choice is made of it.
function chosenBy(name, choice) {
  const label = choiceText(name, choice);
  const { texts, rows } = columnOf(name, choice);
  const fits = texts.map((text) => choicesIn(name, text).includes(label));
  return (row) => fits[rows[row]];
}

// The text of a choice, whose value in the address may say more: see choices.py.
function choiceText(name, choice) {
  const texts = LEANBOARD.choices[name] ?? {};
  return Object.hasOwn(texts, choice) ? texts[choice] : choice;
}

// The column that holds a choice. The name of a workload means all of its variants, its full text one.
function columnOf(name, choice) {
  const { [name]: column, workloadChoice } = LEANBOARD.texts;
  return name === "workload" && Object.hasOwn(LEANBOARD.choices.workload, choice) ? workloadChoice : column;
}

// What a reader can choose to get a row: its text, or each of the techniques that it uses.
function choicesIn(name, text) {
  return name === "uses" ? text.split(" ") : [text];
}

// The columns that hold a word of a search, and which of their texts do: a text that many rows have in
// common is looked at once.
function holdersOf(word) {
  return Object.entries(LEANBOARD.texts).filter(([name]) => !UNSEARCHED.has(name))
    .map(([name, { rows }]) => ({ rows, holds: loweredTexts(name).map((text) => text.includes(word)) }))
    .filter(({ holds }) => holds.includes(true));
}

function loweredTexts(name) {
  if (!lowered.has(name)) lowered.set(name, LEANBOARD.texts[name].texts.map((text) => text.toLowerCase()));
  return lowered.get(name);
}

// The name of a row where little room is: technique and backend, and whether it is unstable.
function nameOf(row) {
  const { techniqueText, backendText, unstable } = LEANBOARD.texts;
  const mark = textOf(unstable, row) ? ", unstable" : "";
  return `${textOf(techniqueText, row)} \u00b7 ${textOf(backendText, row)}${mark}`;
}
