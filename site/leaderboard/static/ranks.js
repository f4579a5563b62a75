// Ranks by intervals: the places that a row can have among all on its hardware and workload. The first is
// one more than the number of rows that are shown to be better, the last is further by the number of
// those that it cannot be told from. A run that is unstable by an unknown amount, and what was measured
// and has no interval, have none, and keep a medal from all that they are not wholly worse than. A row
// that failed the gate is out of the competition, unless a page puts another limit in its place.
// The same rules as ranks.py.
"use strict";

const MEDALS = ["gold", "silver", "bronze"];
// How often larger a value without an interval has to be than another to be told from it.
const APART = 2;
// By metric, hardware and workload: the ranks of all rows there, which no filter changes.
const ranksFound = new Map();

// The interval of a row on a metric; null where its value does not compete. What was counted is exact;
// what was measured and has no interval is known to a factor of two, and not at all if it is not above 0.
function standingOf(place, row) {
  const cells = LEANBOARD.cells[place];
  if (!solid(place, row) || textOf(LEANBOARD.texts.status, row) !== "ok") return null;
  const value = cells.value[row];
  const found = competingOf(place, row);
  const barred = found === null;
  const { low, high } = found ?? { low: cells.low[row], high: cells.high[row] };
  if (low !== null && high !== null) return { row, low, high, barred };
  if (textOf(cells.provenance, row) === "counted") return { row, low: value, high: value, barred };
  const ends = value > 0 ? [value / APART, value * APART] : [-Infinity, Infinity];
  return { row, low: ends[0], high: ends[1], barred: true, untold: true };
}

// Whether a row competes, but has no interval by which it could be told from others.
function isUntold(place, row) {
  return standingOf(place, row)?.untold === true;
}

// Whether ranks can be shown at all: only rows on one hardware and workload can be compared.
function comparableRows(rows) {
  const { hardware, workloadChoice } = LEANBOARD.texts;
  return [hardware, workloadChoice].every((column) =>
    rows.every((row) => column.rows[row] === column.rows[rows[0]]));
}

// All rows on the hardware and workload of a row.
function rowsBeside(row) {
  const { hardware, workloadChoice } = LEANBOARD.texts;
  return [...Array(LEANBOARD.rows).keys()].filter((other) =>
    [hardware, workloadChoice].every(({ rows }) => rows[other] === rows[row]));
}

// The ranks of all rows on the hardware and workload of a row, whichever of them a reader's filters
// leave, and how many there have no interval. They are found once.
function ranksBeside(row, place) {
  const { hardware, workloadChoice } = LEANBOARD.texts;
  const name = `${place} ${hardware.rows[row]} ${workloadChoice.rows[row]}`;
  if (!ranksFound.has(name)) {
    const rows = competing(rowsBeside(row), true);
    const untold = rows.filter((other) => isUntold(place, other)).length;
    ranksFound.set(name, { ranks: ranksAmong(rows, place), untold });
  }
  return ranksFound.get(name);
}

function meets(a, b) {
  return a.low <= b.high && b.low <= a.high;
}

// The rows that compete: those that did not fail the gate, or all where it does not count.
function competing(rows, gated) {
  return gated ? rows.filter((row) => !failedGate(row)) : rows;
}

// Row to { first, last, medal } for the rows of a metric that can be ranked: the first place is one more
// than the number of ranked rows whose interval lies wholly on the better side, the last counts those
// whose interval meets its own too, and barred rows that are not wholly worse. A row with one place has a
// medal, unless it is ranked alone.
function ranksAmong(rows, place, gated = true) {
  const { direction } = LEANBOARD.metrics[place];
  if (direction === "neutral") return new Map();
  const known = competing(rows, gated).map((row) => standingOf(place, row)).filter(Boolean)
    .map((entry) => ({ ...entry, ...costsOf(entry, direction) }));
  const ranked = known.filter((entry) => !entry.barred);
  const bests = sortedNumbers(ranked.map(({ best }) => best));
  const worsts = sortedNumbers(ranked.map(({ worst }) => worst));
  const barred = sortedNumbers(known.filter((entry) => entry.barred).map(({ best }) => best));
  const medals = ranked.length > 1 ? MEDALS : [];
  return new Map(ranked.map(({ row, best, worst }) => {
    const ahead = countBelow(worsts, best);
    const met = countBelow(bests, worst, true) - ahead - 1 + countBelow(barred, worst, true);
    return [row, { first: ahead + 1, last: ahead + 1 + met, medal: met ? "" : medals[ahead] ?? "" }];
  }));
}

// The ends of an interval so that less is better.
function costsOf({ low, high }, direction) {
  return direction === "lower" ? { best: low, worst: high } : { best: -high, worst: -low };
}

function sortedNumbers(values) {
  return [...values].sort((a, b) => a - b);
}

// How many of ascending numbers lie below a bound, or on it too.
function countBelow(ordered, bound, on = false) {
  let [from, to] = [0, ordered.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (ordered[middle] < bound || (on && ordered[middle] === bound)) from = middle + 1;
    else to = middle;
  }
  return from;
}

// Why no row has a rank on a metric, in a sentence.
function whyNoRanks(rows, place) {
  const { label, direction } = LEANBOARD.metrics[place];
  if (direction === "neutral") return `No ranks by ${label}: neither more nor less of it is better.`;
  const counts = new Map();
  for (const row of rows) {
    const why = whyUnranked(place, row);
    counts.set(why, (counts.get(why) ?? 0) + 1);
  }
  const parts = [...counts].map(([why, count]) => `${formatCount(count, "row")} ${why}`);
  return `No ranks by ${label}: ${parts.join(", ")}.`;
}

function whyUnranked(place, row) {
  const { value, estimate, unranked } = LEANBOARD.cells[place];
  if (failedGate(row)) return LEANBOARD.failedGate;
  if (value[row] === null) return "without a value";
  if (textOf(estimate, row)) return "with an estimate";
  if (unranked[row]) return "with a quality that is not ranked";
  return isUntold(place, row) ? "without an interval" : "unstable by an unknown amount";
}

// Rows from the best value of a metric to the worst. Estimates come after what was measured and are
// never mixed with it; what was not measured comes last.
function bestFirst(rows, place) {
  const { value, estimate } = LEANBOARD.cells[place];
  const sign = LEANBOARD.metrics[place].direction === "higher" ? -1 : 1;
  const kind = (row) => (value[row] === null ? 2 : textOf(estimate, row) ? 1 : 0);
  return [...rows].sort((a, b) =>
    kind(a) - kind(b) || sign * ((value[a] ?? 0) - (value[b] ?? 0)) || a - b);
}

// Whether the value of a row may stand beside others: no estimate, and no quality that is not ranked.
function solid(place, row) {
  const cells = LEANBOARD.cells[place];
  return cells.value[row] !== null && !textOf(cells.estimate, row) && !cells.unranked[row];
}

// Whether the value of a row is better than that of another, by however little.
function betterValue(place, row, other) {
  const { value } = LEANBOARD.cells[place];
  const sign = LEANBOARD.metrics[place].direction === "higher" ? -1 : 1;
  return sign * value[row] < sign * value[other];
}

// The best of the rows on a metric, and the rivals that it cannot be told from: the intervals meet, or
// one has none. One without an interval is where its value is the best, but with rivals it is not shown
// to be; then the best of those with an interval is `sure`. `outside`: how many with a better value
// cannot be ranked.
function winnerOf(rows, place, gated = true) {
  const among = competing(rows, gated).filter((row) => solid(place, row));
  const held = among.filter((row) => competingOf(place, row));
  const [sure] = bestFirst(held.filter((row) => !isUntold(place, row)), place);
  let [best] = bestFirst(held, place);
  if (best === undefined) return null;
  if (sure !== undefined && !betterValue(place, best, sure)) best = sure;
  const ends = standingOf(place, best);
  const rivals = among.filter((row) => row !== best && meets(ends, standingOf(place, row)));
  const shown = best === sure || rivals.length === 0;
  const outside = rows.filter((row) => solid(place, row) && betterValue(place, row, best)).length;
  return { row: best, rivals, shown, sure: shown ? null : sure ?? null, outside };
}

// The mark of a rank: its place, or both ends of the band of places, and the same in words.
function drawRank({ first, last, medal }) {
  const alone = first === last;
  const title = `rank ${alone ? first : `${first} to ${last}`}${medal && ", "}${medal}`;
  const text = make("span", { "aria-hidden": "true" }, alone ? `${first}` : `${first}\u2013${last}`);
  const words = make("span", { class: "hidden" }, title);
  return make("span", { class: `rank ${medal}`.trimEnd(), title }, text, words);
}
