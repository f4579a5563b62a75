// The page that puts runs side by side: which runs, found by search or named in the address.
"use strict";

const LETTERS = "ABCDEF";
const MOST_FOUND = 12;

const comparing = { form: null, places: [], runs: [], asked: 0 };

// The runs that an address names, the first to compare with first.
function placesIn(text) {
  return [...new Set((text ?? "").split(",").filter(Boolean))];
}

function runAt(place, i) {
  const run = LEANBOARD_RUNS[place];
  const named = new Map(run.measurements.map((measured) => [measured.name, measured]));
  return { ...run, place, number: i + 1, letter: LETTERS[i], named };
}

function stateOf() {
  const controls = [...comparing.form.elements].filter((control) => control.name);
  const chosen = Object.fromEntries(controls.map((control) => [control.name, controlValue(control)]));
  return { runs: comparing.places.join(","), ...chosen };
}

function restoreCompared(state) {
  comparing.places = placesIn(state.runs);
  return drawCompared(restoreControls(comparing.form, state, { others: ["runs"] }));
}

// Loads the chosen runs and draws; a later choice overtakes an earlier one. `unmet` has what else the
// address asks for in vain.
async function drawCompared(unmet = []) {
  const main = document.querySelector("main");
  const mine = comparing.asked += 1;
  main.setAttribute("aria-busy", "true");
  const asked = comparing.places;
  const [wanted, surplus] = [asked.slice(0, LETTERS.length), asked.slice(LETTERS.length)];
  const there = await loadRuns(wanted.filter(isPlace));
  if (mine !== comparing.asked) return;
  comparing.places = there;
  comparing.runs = there.map(runAt);
  const absent = wanted.filter((place) => !there.includes(place));
  tellUnmet([...unmet, ...unmetRuns(absent, "which is not on this board"),
    ...unmetRuns(surplus, `which is one more than the ${LETTERS.length} that are compared`)]);
  drawRuns(comparing.runs);
  main.removeAttribute("aria-busy");
}

function unmetRuns(places, why) {
  return places.map((place) => unmetText(`the run ${quoted(place)}`, why, "it is left out"));
}

function drawRuns(runs) {
  const state = stateOf();
  const fitting = drawFound(state.q, runs);
  tellCount(runs, fitting, state.q !== "");
  document.getElementById("chosen-section").hidden = runs.length === 0;
  document.getElementById("chosen").replaceChildren(...runs.map((run) => chosenItem(run, runs)));
  const compared = document.getElementById("compared");
  compared.hidden = runs.length < 2;
  if (runs.length < 2) return;
  fillList("notes", runs.slice(1).flatMap((run) => notesOn(run, runs[0])));
  const doubts = drawMetrics(document.getElementById("metrics"), runs, state.metrics === "1");
  fillList("doubts", doubts);
  document.getElementById("doubts-section").hidden = doubts.length === 0;
  tellTerms(drawTerms(document.getElementById("terms"), runs, state.terms === "1"), state.terms === "1");
  drawSpread(runs, state.log === "1");
}

function tellCount(runs, fitting, searched) {
  const chosen = { 0: "No run is chosen yet", 1: "One run is chosen: add another" }[runs.length]
    ?? `${runs.length} runs are compared`;
  const why = searched ? "fit the search" : "are on the board";
  const rows = fitting === null ? "" : `; ${formatCount(fitting, "run")} ${why}`;
  document.getElementById("count").textContent = `${chosen}${rows}.`;
}

function tellTerms({ differing, all }, everything) {
  const told = differing ? `${differing} of ${all} lines differ` : `None of ${all} lines differs`;
  const end = everything ? ": they stand out below." : ".";
  document.getElementById("terms-told").textContent = `${told}${end}`;
}

function drawSpread(runs, log) {
  const place = document.getElementById("plots");
  document.getElementById("spread-section").hidden = !runs.some((run) => Object.keys(run.samples).length);
  drawQuantilePlots(place, runs, log);
  drawQuantileTable(document.getElementById("quantiles"), runs);
}

function fillList(id, texts) {
  const list = document.getElementById(id);
  list.replaceChildren(...texts.map((text) => make("li", {}, text)));
  list.hidden = texts.length === 0;
}

// Lists runs that can be added; returns how many rows fit, or null where nothing is looked for.
function drawFound(search, runs) {
  const list = document.getElementById("found");
  const chosen = new Set(runs.map((run) => run.place));
  const looking = search !== "" || runs.length < 2;
  const rows = looking ? matchingRows({ q: search, gate: "all" }) : [];
  const near = rows.slice(0, MOST_FOUND + runs.length).filter((row) => !chosen.has(placeOf(row)));
  const full = runs.length >= LETTERS.length;
  list.replaceChildren(...(full ? [] : near.slice(0, MOST_FOUND)).map(foundItem));
  list.hidden = list.children.length === 0;
  return looking ? rows.length : null;
}

function foundItem(row) {
  const { texts } = LEANBOARD;
  const what = [texts.techniqueText, texts.workloadText, texts.backendText];
  const name = what.map((text) => textOf(text, row)).join(" \u00b7 ");
  const place = [texts.model, texts.hardware].map((text) => textOf(text, row)).join(", ");
  const label = `Add ${name}, ${place}`;
  const add = make("button", { type: "button", "data-add": placeOf(row), "aria-label": label }, "Add");
  return make("li", {}, add, " ", make("span", {}, name, " ", make("small", {}, place)));
}

function chosenItem(run, runs) {
  const letter = make("span", { class: "letter" }, run.letter);
  const told = make("small", {}, `${run.subtitle}; ${run.started}`);
  const name = make("span", {}, make("a", { href: run.href }, run.title), " ", told);
  const item = make("li", { "data-place": run.place }, letter, " ", name, ...badgesOf(run));
  const others = new Set(runs.map((other) => other.place));
  const room = runs.length < LETTERS.length && run.baselinePlace && !others.has(run.baselinePlace);
  const buttons = [
    ...(run.number > 1 ? [["first", "Put first"]] : []),
    ...(room ? [["baseline", "Add its baseline"]] : []),
    ["remove", "Remove"],
  ];
  for (const [action, text] of buttons) {
    const label = `${text}: ${run.letter}, ${run.title}`;
    const attributes = { type: "button", [`data-${action}`]: run.place, "aria-label": label };
    item.append(" ", make("button", attributes, text));
  }
  return item;
}

function badgesOf(run) {
  const marks = [];
  if (run.baseline) marks.push(["badge plain", "baseline"]);
  if (run.status !== "ok") marks.push(["badge bad", run.status]);
  if (run.unstable) marks.push(["badge bad", "unstable"]);
  return marks.flatMap(([css, text]) => [" ", make("span", { class: css }, text)]);
}

// The runs after a button was pressed; null where it was none of these.
function placesAfter({ add, first, baseline, remove }) {
  const without = (place) => comparing.places.filter((other) => other !== place);
  if (add) return [...comparing.places, add];
  if (first) return [first, ...without(first)];
  if (baseline) return [LEANBOARD_RUNS[baseline].baselinePlace, ...comparing.places];
  return remove ? without(remove) : null;
}

async function onPress(event) {
  const button = event.target.closest("button");
  const places = button && placesAfter(button.dataset);
  if (!places) return;
  comparing.places = places.slice(0, LETTERS.length);
  writeState(stateOf());
  await drawCompared();
  // The button that was pressed may be gone: the focus stays near.
  comparing.form.elements.q.focus({ preventScroll: true });
}

function startCompared() {
  comparing.form = document.getElementById("chooser");
  if (!comparing.form) return;
  comparing.form.hidden = false;
  document.getElementById("candidates").remove();
  comparing.form.addEventListener("input", () => {
    writeState(stateOf());
    void drawCompared();
  });
  comparing.form.addEventListener("submit", (event) => event.preventDefault());
  comparing.form.addEventListener("reset", (event) => {
    event.preventDefault();
    writeState({});
    void restoreCompared({});
  });
  for (const id of ["found", "chosen"]) document.getElementById(id).addEventListener("click", onPress);
  onState(restoreCompared);
  addEventListener("resize", () => drawSpread(comparing.runs, stateOf().log === "1"));
  void restoreCompared(readState());
}

startCompared();
