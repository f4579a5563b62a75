// Pareto fronts: the points that no other point beats. The same rule as metrics/pareto.py.
"use strict";

// `points` hold a value an axis; a direction is "lower" or "higher". Returns the indices on the front.
function paretoFront(points, directions) {
  const costs = points.map((p) => p.map((v, axis) => (directions[axis] === "lower" ? v : -v)));
  return directions.length === 2 ? frontOfPairs(costs) : frontOfMany(costs);
}

// Whether a point is at least as good on every axis, and better on one. Less is better.
function beats(a, b) {
  let better = false;
  for (let axis = 0; axis < a.length; axis += 1) {
    if (a[axis] > b[axis]) return false;
    if (a[axis] < b[axis]) better = true;
  }
  return better;
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

// Any number of axes: in the order of their costs, what beats a point comes before it; and if that is
// beaten itself, then by a point of the front, which beats both.
function frontOfMany(costs) {
  const front = [];
  for (const place of costs.map((_, i) => i).sort((a, b) => inOrder(costs[a], costs[b]))) {
    if (!front.some((other) => beats(costs[other], costs[place]))) front.push(place);
  }
  return front.sort((a, b) => a - b);
}

// Compares by the first axis on which two points differ.
function inOrder(a, b) {
  const axis = a.findIndex((v, i) => v !== b[i]);
  return axis < 0 ? 0 : a[axis] - b[axis];
}
