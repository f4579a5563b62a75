// Pareto fronts: the points that no other point beats. The same rule as metrics/pareto.py.
"use strict";

// `points` hold a value an axis; a direction is "lower" or "higher". Returns the indices on the front.
function paretoFront(points, directions) {
  const costs = points.map((p) => p.map((v, axis) => (directions[axis] === "lower" ? v : -v)));
  if (directions.length === 2) return frontOfPairs(costs);
  const beats = (a, b) => a.every((v, axis) => v <= b[axis]) && a.some((v, axis) => v < b[axis]);
  return costs.map((cost, place) => [cost, place])
    .filter(([cost]) => !costs.some((other) => beats(other, cost)))
    .map(([, place]) => place);
}

// Two axes: a sweep along the first, on which a point must undercut all before it on the second.
function frontOfPairs(costs) {
  const ordered = costs.map((_, place) => place)
    .sort((a, b) => costs[a][0] - costs[b][0] || costs[a][1] - costs[b][1]);
  const front = [];
  let best = Infinity;
  let last = null;
  for (const place of ordered) {
    const [first, second] = costs[place];
    const equal = last && last[0] === first && last[1] === second;
    if (second < best || equal) {
      front.push(place);
      [best, last] = [second, costs[place]];
    }
  }
  return front.sort((a, b) => a - b);
}
