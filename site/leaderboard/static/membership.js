// How sure a point's place on a front is: the same draws as metrics/front_membership.py.
"use strict";

const Z95 = 1.9599639845400536;

// A value moved by a standard normal deviate within what its interval says.
function movedBy({ value, low, high }, deviate) {
  if (low === null || high === null) return value;
  const end = deviate < 0 ? low : high;
  if (Math.min(value, low) > 0) return value * Math.exp((Math.abs(deviate) * Math.log(end / value)) / Z95);
  return value + (Math.abs(deviate) * (end - value)) / Z95;
}

function fnv1a(text) {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) state = Math.imul(state ^ byte, 0x01000193) >>> 0;
  return state;
}

// Standard normal deviates, the same ones for the same name (Box and Muller over Mulberry32).
function deviates(name) {
  let state = fnv1a(name);
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

// The share of draws in which each point is on the front. `points` are { name, values: [{ value,
// low, high }, one an axis] }; `metrics` and `directions` name the axes.
function frontMembership(points, metrics, directions, draws) {
  const streams = points.map(({ name }) => metrics.map((metric) => deviates(`${name}/${metric}`)));
  const counts = points.map(() => 0);
  for (let draw = 0; draw < draws; draw += 1) {
    const moved = points.map(({ values }, i) => values.map((value, axis) => movedBy(value, streams[i][axis]())));
    for (const i of paretoFront(moved, directions)) counts[i] += 1;
  }
  return counts.map((count) => count / draws);
}
