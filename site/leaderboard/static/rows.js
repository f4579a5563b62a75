// The rows of the board: their texts come with data/board.js, the values of each metric in a script
// of their own, which is asked for when a page needs it.
"use strict";

const arriving = new Map();
const haystacks = [];

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
    script.addEventListener("error", () => failed(new Error(`${address} cannot be read: is the site whole?`)));
    document.head.append(script);
  });
}

// Rows whose status is the one asked for ("ok" unless told), that pass every filter of the state
// and hold every word of its search.
function matchingRows(state) {
  const { texts, filters, rows } = LEANBOARD;
  const status = state.status || "ok";
  const wanted = filters.filter((name) => state[name]).map((name) => [texts[name], state[name]]);
  if (status !== "all") wanted.push([texts.status, status]);
  const numbers = wanted.map(([column, text]) => [column.rows, column.texts.indexOf(text)]);
  const words = (state.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  for (let row = 0; row < rows; row += 1) {
    if (!numbers.every(([column, number]) => column[row] === number)) continue;
    if (words.length && !words.every((word) => haystackOf(row).includes(word))) continue;
    found.push(row);
  }
  return found;
}

// Everything that a search looks at; made once a row.
function haystackOf(row) {
  haystacks[row] ??= Object.values(LEANBOARD.texts).map((column) => textOf(column, row)).join(" ").toLowerCase();
  return haystacks[row];
}

// The name of a row where little room is: technique and backend, and whether it is unstable.
function nameOf(row) {
  const { techniqueText, backendText, unstable } = LEANBOARD.texts;
  const mark = textOf(unstable, row) ? ", unstable" : "";
  return `${textOf(techniqueText, row)} \u00b7 ${textOf(backendText, row)}${mark}`;
}
