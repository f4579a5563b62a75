// Pareto fronts: the points that no other point beats. The same rule as metrics/pareto.py.
"use strict";

// `points` are [x, y]; a direction is "lower" or "higher". Returns the indices on the front.
function paretoFront(points, directions) {
  const costs = points.map((p) => p.map((v, axis) => (directions[axis] === "lower" ? v : -v)));
  const beats = (a, b) => a.every((v, axis) => v <= b[axis]) && a.some((v, axis) => v < b[axis]);
  return costs.map((cost, place) => [cost, place])
    .filter(([cost]) => !costs.some((other) => beats(other, cost)))
    .map(([, place]) => place);
}
