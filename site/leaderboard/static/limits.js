// Whether a row keeps a limit { place, bound }, by its interval where it has one; and if not, why.
"use strict";

// Why a row cannot be shown to keep a limit on a metric; empty if it can.
function unshown(place, row) {
  const cells = LEANBOARD.cells[place];
  if (cells.value[row] === null) return titleOf(place, row);
  const estimate = textOf(cells.estimate, row);
  if (estimate) return `${estimate} ${LEANBOARD.estimate}`;
  return cells.unranked[row] ? LEANBOARD.unranked : "";
}

// { why, risky }: why the row falls out, empty if it stays; and whether it stays although its interval
// crosses the limit.
function judge(row, { place, bound }) {
  const metric = LEANBOARD.metrics[place];
  const cells = LEANBOARD.cells[place];
  const reason = unshown(place, row);
  if (reason) return { why: `${metric.label}: not shown to keep the limit (${reason})`, risky: false };
  const sign = metric.direction === "lower" ? 1 : -1;
  const beyond = (value) => sign * (value - bound) > 0;
  const ends = [cells.low[row], cells.high[row]].filter((end) => end !== null);
  if (!beyond(cells.value[row])) return { why: "", risky: ends.some(beyond) };
  return { why: missText(metric, cells.value[row], bound, ends.some((end) => !beyond(end))), risky: false };
}

// By how much a value misses a limit, in words.
function missText(metric, value, bound, reaches) {
  const by = Math.abs(value - bound);
  const share = bound > 0 ? ` (${formatNumber((100 * by) / bound, 1)} %)` : "";
  const side = value > bound ? "above" : "below";
  const end = reaches ? "; its interval reaches the limit" : "";
  return `${metric.label} is ${withUnit(metric, value)}: `
    + `${withUnit(metric, by)}${share} ${side} the limit of ${withUnit(metric, bound)}${end}`;
}

// A value in the metric's scale, with its unit.
function withUnit(metric, value) {
  return `${formatNumber(value * metric.factor)} ${metric.suffix}`.trimEnd();
}

// The least and the largest value of the rows that can be compared, intervals included, in the
// metric's scale; null where there is none.
function extentOf(place, rows) {
  const { value, low, high } = LEANBOARD.cells[place];
  const known = rows.filter((row) => solid(place, row))
    .flatMap((row) => [value[row], low[row], high[row]]).filter((number) => number !== null);
  if (!known.length) return null;
  const { factor } = LEANBOARD.metrics[place];
  const ends = known.reduce(([least, most], number) => [Math.min(least, number), Math.max(most, number)],
    [Infinity, -Infinity]);
  return ends.map((end) => end * factor);
}
