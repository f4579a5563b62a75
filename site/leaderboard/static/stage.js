// Who competes for a front, who is only shown, and who is left out with a reason: as stage.py. The
// lists beside the picture.
"use strict";

const GOLDEN = 0.6180339887498949;
// A workload is chosen by what tells it from others: the same name at another size is not comparable.
const STAGED_BY = ["hardware", "workload", "model", "backend", "gate"];

// Why a run has no place on an axis; empty if it has one.
function whyNot(place, row, log) {
  const metric = LEANBOARD.metrics[place];
  const cells = LEANBOARD.cells[place];
  if (cells.value[row] === null) return `${metric.label}: ${titleOf(place, row)}`;
  const estimate = textOf(cells.estimate, row);
  if (estimate) return `${metric.label}: ${estimate} ${LEANBOARD.estimate}`;
  return log && cells.value[row] <= 0 ? `${metric.label}: not above 0, so not on a log axis` : "";
}

// Why a run is shown without competing; empty if it competes for the front. The gate does not judge where
// an axis is itself a metric of quality: what it judges is in view.
function whyHollow(row, places) {
  const metrics = places.map((place) => LEANBOARD.metrics[place]);
  if (failedGate(row) && !metrics.some(({ role }) => role === "quality")) {
    return `${LEANBOARD.failedGate}: ${textOf(LEANBOARD.texts.gateReason, row)}`;
  }
  const held = places.every((place) => competingOf(place, row));
  if (!held) return `${LEANBOARD.unstableRun} (${textOf(LEANBOARD.texts.unstable, row)})`;
  return metrics.some(({ quality }) => quality) && !LEANBOARD.ranked[row] ? LEANBOARD.unranked : "";
}

// Splits the rows into those that compete, those only shown, and those left out with a reason.
// `logs` tells which axes are logarithmic.
function staged(rows, places, logs = []) {
  const stage = [];
  const hollow = [];
  const left = [];
  for (const row of rows) {
    const missing = places.map((place, i) => whyNot(place, row, logs[i])).find(Boolean);
    const reason = missing || whyHollow(row, places);
    if (reason) left.push([row, reason]);
    if (!missing) (reason ? hollow : stage).push(row);
  }
  return { stage, hollow, left };
}

// Which of the competing rows are on their front, which may be, and which are not. `chances` has the
// share of draws in which a row is on the front; where these would take too long, it is empty, and
// `undecided` says how many rows may be on the front.
function contested(rows, places) {
  const directions = places.map((place) => LEANBOARD.metrics[place].direction);
  const points = rows.map((row) => places.map((place) => LEANBOARD.cells[place].value[row]));
  const front = paretoFront(points, directions).map((i) => rows[i]);
  const { contenders: able, shares } = surenessOf(rows, places, directions);
  const chances = new Map((shares ?? []).map((share, i) => [rows[i], share]));
  const members = new Set(front);
  const rest = rows.filter((row) => !members.has(row));
  const near = (row) => chances.get(row) >= LEANBOARD.leastChance;
  const [maybe, beaten] = [rest.filter(near), rest.filter((row) => !near(row))];
  return { front, maybe, beaten, chances, undecided: shares ? 0 : able };
}

function surenessOf(rows, places, directions) {
  const points = rows.map((row) => ({
    name: LEANBOARD.href[row],
    values: places.map((place) => competingOf(place, row)),
  }));
  const names = places.map((place) => LEANBOARD.metrics[place].name);
  const most = places.length > 2 ? LEANBOARD.mostDrawn : Infinity;
  return frontMembership(points, names, directions, LEANBOARD.draws, most);
}

// At most so many items, spread over all of them and in their order: by steps of the golden ratio, which
// hit every part of a pattern alike.
function thinned(items, most) {
  if (items.length <= most) return items;
  const step = (place) => (place * GOLDEN) % 1;
  const kept = items.map((_, place) => place).sort((a, b) => step(a) - step(b)).slice(0, most);
  return kept.sort((a, b) => a - b).map((place) => items[place]);
}

// What an axis shows, its unit, and which way is better.
function axisTitle(place) {
  const { label, suffix, direction } = LEANBOARD.metrics[place];
  return `${label}${suffix ? ` (${suffix})` : ""}, ${direction} is better`;
}

// The model of a run, its hardware where a page shows that of several, and whether it failed the gate.
function whereOf(row, everywhere = false) {
  const { model, hardware } = LEANBOARD.texts;
  const place = everywhere ? `${textOf(model, row)} on ${textOf(hardware, row)}` : textOf(model, row);
  return failedGate(row) ? `${place}, ${LEANBOARD.failedGate}` : place;
}

// Says on which axes values that were measured have no interval: draws hold them where they are, as they
// do what was counted, which is exact.
function tellTakenAsExact(rows, places) {
  const notes = places.map((place) => {
    const { low, high, provenance } = LEANBOARD.cells[place];
    const bare = rows.filter((row) => (low[row] === null || high[row] === null)
      && textOf(provenance, row) !== "counted").length;
    return bare && `${LEANBOARD.metrics[place].label} has no interval in ${formatNumber(bare, 0)} of `
      + `${formatCount(rows.length, "run")}: it is taken as exact there, and no share of draws says how sure `
      + "it is.";
  });
  tellIn("exact", notes.filter(Boolean).join(" "));
}

// The name of a run, where it ran, and its values.
function pointTitle(row, places, everywhere = false) {
  const values = places.map((place) => {
    const { short, factor, suffix } = LEANBOARD.metrics[place];
    return `${short} ${formatNumber(LEANBOARD.cells[place].value[row] * factor)} ${suffix}`.trim();
  });
  return `${nameOf(row)}, ${whereOf(row, everywhere)}: ${values.join(", ")}`;
}

function drawLists({ front, maybe, left, chances, undecided }, everywhere = false, keyOf = () => []) {
  const note = (row) => {
    const chance = chances.has(row) ? `; in ${formatNumber(chances.get(row) * 100, 1)} % of draws` : "";
    return `${whereOf(row, everywhere)}${chance}`;
  };
  fillList("front", front, (row) => listItem(row, note(row), keyOf(row)));
  fillList("maybe", maybe, (row) => listItem(row, note(row), keyOf(row)));
  fillList("left", left, ([row, reason]) => listItem(row, reason));
  tellIn("untold", untoldChances(undecided));
  document.getElementById("maybe-section").hidden = maybe.length === 0;
  document.getElementById("none-left").hidden = left.length > 0;
}

// Why nothing is said of chances, from how many runs may be on the front; empty for none.
function untoldChances(count) {
  if (count === 0) return "";
  return "How sure these places are, and which other runs are perhaps on the front, is not said here: "
    + `${formatCount(count, "run")} may be on it, and draws of more than ${LEANBOARD.mostDrawn} runs on `
    + "three metrics or more take too long. Choose a model or a backend.";
}

function fillList(id, items, draw) {
  const most = LEANBOARD.mostListed;
  const list = document.getElementById(id);
  list.replaceChildren(...items.slice(0, most).map(draw));
  const more = items.length - most;
  if (more > 0) list.append(make("li", { class: "more" }, `and ${formatNumber(more, 0)} more`));
}

function listItem(row, note, key = []) {
  const link = make("a", { href: LEANBOARD.href[row] }, nameOf(row));
  return make("li", { "data-row": row }, ...key, link, " ", make("small", {}, note));
}

// Puts a text into its place, which is hidden while there is none.
function tellIn(id, text) {
  const place = document.getElementById(id);
  place.textContent = text;
  place.hidden = text === "";
}

// Says what a picture leaves out, from nouns and how many of each.
function tellUndrawn(counts) {
  const left = Object.entries(counts).filter(([, count]) => count);
  const parts = left.map(([noun, count]) => formatCount(count, noun));
  tellIn("undrawn", parts.length
    ? `Not drawn, so that the rest can be seen: ${parts.join(", ")}. Choose a model or a backend.` : "");
}
