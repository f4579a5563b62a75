// Ranks by intervals: who cannot be told from the best of a band shares its rank. A medal goes
// only to a row that is alone in its band and whose interval meets no other.
"use strict";

const MEDALS = ["gold", "silver", "bronze"];

// The interval of a row on a metric; null where its value may not be ranked. What was counted is
// exact; what was measured and has no interval cannot be told from anything.
function rankable(place, row) {
  const cells = LEANBOARD.cells[place];
  const value = cells.value[row];
  const barred = value === null || textOf(cells.estimate, row) || textOf(LEANBOARD.texts.unstable, row)
    || cells.unranked[row] || textOf(LEANBOARD.texts.status, row) !== "ok";
  if (barred) return null;
  if (cells.low[row] !== null && cells.high[row] !== null) return { row, value, low: cells.low[row], high: cells.high[row] };
  return textOf(cells.provenance, row) === "counted" ? { row, value, low: value, high: value } : null;
}

// Whether ranks can be given at all: only rows on one hardware and workload can be compared.
function comparableRows(rows) {
  const { hardware, workloadText } = LEANBOARD.texts;
  return rows.every((row) =>
    hardware.rows[row] === hardware.rows[rows[0]] && workloadText.rows[row] === workloadText.rows[rows[0]]);
}

function meets(a, b) {
  return a.low <= b.high && b.low <= a.high;
}

// Row to { rank, shared, medal } for the rows of a metric that can be ranked.
function rankBands(rows, place) {
  const { direction } = LEANBOARD.metrics[place];
  if (direction === "neutral") return new Map();
  const sign = direction === "lower" ? 1 : -1;
  const ordered = rows.map((row) => rankable(place, row)).filter(Boolean)
    .sort((a, b) => sign * (a.value - b.value) || a.row - b.row);
  const ranks = new Map();
  let leader = null;
  let rank = 0;
  ordered.forEach((entry, i) => {
    const alone = !leader || !meets(entry, leader);
    if (alone) [leader, rank] = [entry, i + 1];
    else ranks.get(leader.row).shared = true;
    ranks.set(entry.row, { rank, shared: !alone, medal: "" });
  });
  const best = ordered.length > 1 ? ordered.slice(0, MEDALS.length) : [];
  best.forEach((entry, i) => {
    if (!ordered.some((other) => other !== entry && meets(entry, other))) ranks.get(entry.row).medal = MEDALS[i];
  });
  return ranks;
}
