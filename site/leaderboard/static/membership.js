// How sure a point's place on a front is: the same draws as metrics/front_membership.py.
"use strict";

const Z95 = 1.9599639845400536;
// The largest deviate that there is: a uniform of 32 bits is at least 2 ** -32 away from 1.
const FARTHEST = Math.sqrt(-2 * Math.log(2 ** -32));

// A value moved by a standard normal deviate within what its interval says.
function movedBy({ value, low, high }, deviate) {
  if (low === null || high === null) return value;
  const end = deviate < 0 ? low : high;
  const far = Math.abs(deviate);
  if (Math.min(value, low, high) > 0) return value * Math.exp((far * Math.log(end / value)) / Z95);
  return value + (far * (end - value)) / Z95;
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

// How sure the places of points on a front are: { contenders, shares }, how many points some draw could
// put on it, and for each point the share of draws that do; null where more than `most` would have to
// be drawn. `points` are { name, values: [{ value, low, high }, one an axis] }; `metrics` and
// `directions` name the axes. A contender that is not in dispute is on every front.
function frontMembership(points, metrics, directions, draws, most = Infinity) {
  const able = contenders(points, directions);
  const contending = able.map((i) => points[i]);
  const drawn = inDispute(contending, directions, most).map((i) => able[i]);
  if (drawn.length > most) return { contenders: able.length, shares: null };
  const counts = points.map(() => 0);
  for (const i of able) counts[i] = draws;
  for (const i of drawn) counts[i] = 0;
  const draw = drawsOf(drawn.map((i) => points[i]), metrics);
  for (let number = 0; number < draws; number += 1) {
    for (const i of paretoFront(draw(), directions)) counts[drawn[i]] += 1;
  }
  return { contenders: able.length, shares: counts.map((count) => count / draws) };
}

// Gives a function that moves all values of the points anew.
function drawsOf(points, metrics) {
  const moves = points.map(({ name, values }) =>
    values.map((value, axis) => movesOf(value, `${name}/${metrics[axis]}`)));
  return () => moves.map((axes) => axes.map((move) => move()));
}

// Gives a function that moves a value anew; one without an interval needs no deviates.
function movesOf(value, name) {
  if (value.low === null || value.high === null) return () => value.value;
  const deviate = deviates(name);
  return () => movedBy(value, deviate());
}

// The places of the points that some draw could put on the front: the others need no draws. A point
// is none of them if even at its best another beats it at that one's worst.
function contenders(points, directions) {
  const corners = points.map(({ values }) => cornersOf(values, directions));
  const worst = corners.map((corner) => corner.worst);
  const front = paretoFront(worst, directions.map(() => "lower"));
  return points.map((_, i) => i).filter((i) => !front.some((other) => beats(worst[other], corners[i].best)));
}

// The places of the contenders that some draw may beat, and of those that may beat them. Stops soon
// after there are more than `most`.
function inDispute(points, directions, most) {
  const corners = points.map(({ values }) => cornersOf(values, directions));
  const found = new Set();
  for (const [i, { worst }] of corners.entries()) {
    if (found.size > most) break;
    corners.forEach(({ best }, other) => {
      if (other !== i && beats(best, worst)) found.add(i).add(other);
    });
  }
  return [...found].sort((a, b) => a - b);
}

// The costs of a point at its best and at its worst over all draws.
function cornersOf(values, directions) {
  const reaches = values.map((value) => [value.value, movedBy(value, -FARTHEST), movedBy(value, FARTHEST)]);
  const costs = reaches.map((ends, axis) => (directions[axis] === "lower" ? ends : ends.map((end) => -end)));
  return { best: costs.map((ends) => Math.min(...ends)), worst: costs.map((ends) => Math.max(...ends)) };
}
