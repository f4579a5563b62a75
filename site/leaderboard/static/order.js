// The order of the leaderboard's rows, by a metric or by a text. Each is found once: what it is made of
// never changes.
"use strict";

const orders = new Map();

// Rows in the order that the state asks for; as they come where it asks for none.
function sortedRows(rows, state) {
  const order = orderOf(state);
  if (!order) return rows;
  const wanted = new Uint8Array(LEANBOARD.rows);
  for (const row of rows) wanted[row] = 1;
  return order.filter((row) => wanted[row]);
}

// The direction in which an order begins: the best value of a metric first, texts from the first one.
function firstDirection(sort) {
  return LEANBOARD.metrics[metricPlace(sort)]?.direction === "higher" ? "desc" : "asc";
}

// All rows in that order; null where none is asked for.
function orderOf({ sort, dir }) {
  if (!sort) return null;
  const place = metricPlace(sort);
  const sign = dir === "desc" ? -1 : 1;
  const name = `${sort} ${sign}`;
  if (!orders.has(name)) orders.set(name, place < 0 ? orderByText(sort, sign) : orderByMetric(place, sign));
  return orders.get(name);
}

function orderByText(name, sign) {
  const { rows } = LEANBOARD.texts[name];
  return ordered([...rows.keys()], rows, sign);
}

// Estimates come after what was measured and are never mixed with it; what was not measured comes last,
// whichever way the rest goes.
function orderByMetric(place, sign) {
  const { value, estimate } = LEANBOARD.cells[place];
  const [measured, estimated, missing] = [[], [], []];
  value.forEach((number, row) => {
    if (number === null) missing.push(row);
    else (textOf(estimate, row) ? estimated : measured).push(row);
  });
  return [...ordered(measured, value, sign), ...ordered(estimated, value, sign), ...missing];
}

// Rows by their values; equal ones keep the order of the table, as sorting is stable.
function ordered(rows, values, sign) {
  const keys = Float64Array.from(values, (value) => sign * value);
  return rows.sort((a, b) => keys[a] - keys[b]);
}
