// With what a value competes for ranks and fronts: its interval, widened to the better side by what
// others took of the processor meanwhile. The same rules as competing.py.
"use strict";

// The { value, low, high } of a row on a metric, without ends where there is no interval; null where
// the value cannot compete: its run is unstable, and nothing says by how much.
function competingOf(place, row) {
  const { timed, direction } = LEANBOARD.metrics[place];
  const cells = LEANBOARD.cells[place];
  const [value, low, high] = [cells.value[row], cells.low[row], cells.high[row]];
  if (value === null) return null;
  if (!timed || textOf(LEANBOARD.texts.unstable, row) === "") return { value, low, high };
  const reach = LEANBOARD.reach[row];
  if (low === null || high === null || reach === null) return null;
  const rounded = (end) => Number(end.toPrecision(6));
  return direction === "higher"
    ? { value, low, high: rounded(high * reach) }
    : { value, low: rounded(low / reach), high };
}
