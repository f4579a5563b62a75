// Ranks by intervals: one more than the number of rows that are shown to be better. A run that is unstable
// by an unknown amount has none, and keeps a medal from those whose interval meets its own. A row
// that failed the gate is out of the competition, unless a page puts another limit in its place.
// The same rules as ranks.py.
"use strict";

const MEDALS = ["gold", "silver", "bronze"];

// The interval of a row on a metric; null where its value cannot be compared. What was counted is
// exact; what was measured and has no interval cannot be told from anything.
function intervalOf(place, row) {
  const cells = LEANBOARD.cells[place];
  const value = cells.value[row];
  const absent = value === null || textOf(cells.estimate, row) || cells.unranked[row]
    || textOf(LEANBOARD.texts.status, row) !== "ok";
  if (absent) return null;
  const found = competingOf(place, row);
  const barred = found === null;
  const { low, high } = found ?? { low: cells.low[row], high: cells.high[row] };
  if (low !== null && high !== null) return { row, value, low, high, barred };
  const counted = textOf(cells.provenance, row) === "counted";
  return counted ? { row, value, low: value, high: value, barred } : null;
}

// Whether ranks can be given at all: only rows on one hardware and workload can be compared.
function comparableRows(rows) {
  const { hardware, workloadChoice } = LEANBOARD.texts;
  return [hardware, workloadChoice].every((column) =>
    rows.every((row) => column.rows[row] === column.rows[rows[0]]));
}

function meets(a, b) {
  return a.low <= b.high && b.low <= a.high;
}

// The rows that compete: those that did not fail the gate, or all where it does not count.
function competing(rows, gated) {
  return gated ? rows.filter((row) => !failedGate(row)) : rows;
}

// Row to { rank, shared, medal } for the rows of a metric that can be ranked: one more than the number of
// ranked rows whose interval lies wholly on the better side. A medal needs an interval that meets no other.
function ranksAmong(rows, place, gated = true) {
  const { direction } = LEANBOARD.metrics[place];
  if (direction === "neutral") return new Map();
  const known = competing(rows, gated).map((row) => intervalOf(place, row)).filter(Boolean)
    .map((entry) => ({ ...entry, ...costsOf(entry, direction) }));
  const ranked = known.filter((entry) => !entry.barred);
  const worsts = sortedNumbers(ranked.map(({ worst }) => worst));
  const numbers = ranked.map(({ best }) => countBelow(worsts, best) + 1);
  const holders = new Map();
  for (const number of numbers) holders.set(number, (holders.get(number) ?? 0) + 1);
  const medals = ranked.length > 1 ? MEDALS : [];
  const apart = metByNone(known);
  return new Map(ranked.map((entry, i) => {
    const medal = (apart.has(entry.row) && medals[numbers[i] - 1]) || "";
    return [entry.row, { rank: numbers[i], shared: holders.get(numbers[i]) > 1, medal }];
  }));
}

// The ends of an interval so that less is better.
function costsOf({ low, high }, direction) {
  return direction === "lower" ? { best: low, worst: high } : { best: -high, worst: -low };
}

// The rows whose interval meets no other.
function metByNone(known) {
  const bests = sortedNumbers(known.map(({ best }) => best));
  const worsts = sortedNumbers(known.map(({ worst }) => worst));
  const metBy = ({ best, worst }) => countBelow(bests, worst, true) - countBelow(worsts, best);
  return new Set(known.filter((entry) => metBy(entry) === 1).map(({ row }) => row));
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
  return intervalOf(place, row) ? "unstable by an unknown amount" : "without an interval";
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

// The best of the rows on a metric, and the rivals that it cannot be told from: the intervals meet, or
// one has none. One with an interval goes before one without: nobody knows how good that is.
function winnerOf(rows, place, gated = true) {
  const among = competing(rows, gated).filter((row) => solid(place, row));
  const held = among.filter((row) => competingOf(place, row));
  const ranked = held.filter((row) => intervalOf(place, row));
  const [best] = bestFirst(ranked.length ? ranked : held, place);
  if (best === undefined) return null;
  const ends = intervalOf(place, best);
  const apart = (row) => {
    const others = intervalOf(place, row);
    return ends !== null && others !== null && !meets(ends, others);
  };
  return { row: best, rivals: among.filter((row) => row !== best && !apart(row)) };
}

// The mark of a rank; shared where intervals meet.
function drawRank({ rank, shared, medal }) {
  const text = `${rank}${shared ? "=" : ""}`;
  const title = `rank ${rank}${shared ? ", shared: the intervals meet" : ""}${medal ? `, ${medal}` : ""}`;
  return make("span", { class: `rank ${medal}`.trimEnd(), title }, text);
}
