// How much of the space above a reference point a set of points covers: as metrics/hypervolume.py.
"use strict";

// One doubling worse than the baseline, on every axis.
const REFERENCE = -1;
// One draw in so many lies below the range, and one above: its ends enclose 95% of them.
const OUTSIDE = 40;

// How many doublings better a candidate is than its baseline, from candidate / baseline.
function doublings(ratio, direction) {
  if (ratio <= 0) return -Infinity;
  return direction === "lower" ? -Math.log2(ratio) : Math.log2(ratio);
}

// The volume above the reference in which some point is at least as good. More is better.
function hypervolume(points, reference) {
  const boxes = points.map((point) => point.map((value, axis) => value - reference[axis]));
  return unionOf(boxes.filter((box) => box.every((side) => side > 0)).reduce(withBox, []));
}

// The volume of boxes with a corner at the origin, cut along their last side. From the top down, the
// boxes that reach a slice only grow more; the slice's own volume is that of their other sides. No box
// may lie inside another.
function unionOf(boxes) {
  if (!boxes.length) return 0;
  const last = boxes[0].length - 1;
  if (last === 0) return boxes.reduce((most, [side]) => Math.max(most, side), 0);
  const ordered = [...boxes].sort((a, b) => b[last] - a[last]);
  if (last === 1) return areaOf(ordered);
  let volume = 0;
  let within = [];
  ordered.forEach((box, i) => {
    const floor = i + 1 < ordered.length ? ordered[i + 1][last] : 0;
    within = withBox(within, box.slice(0, last));
    if (box[last] > floor) volume += (box[last] - floor) * unionOf(within);
  });
  return volume;
}

// The area of rectangles from the highest down: each is wider than those before it.
function areaOf(ordered) {
  const floor = (i) => (i + 1 < ordered.length ? ordered[i + 1][1] : 0);
  return ordered.reduce((area, [width, top], i) => area + (top - floor(i)) * width, 0);
}

// Boxes and one more, without those that lie inside another.
function withBox(boxes, box) {
  const holds = (outer, inner) => outer.every((side, axis) => side >= inner[axis]);
  if (boxes.some((other) => holds(other, box))) return boxes;
  return [...boxes.filter((other) => !holds(box, other)), box];
}

// What candidates cover, the range of that over draws, and what they cover that the baseline does
// not. `candidates` are { name, values: [{ value, low, high } of candidate / baseline, one an axis] }.
// On three axes or more, more than `most` candidates that compete have no range.
function againstBaseline(candidates, metrics, directions, draws, most) {
  const reference = directions.map(() => REFERENCE);
  const gains = (moved) => moved.map((values) =>
    values.map((value, axis) => doublings(value, directions[axis])));
  const able = contenders(candidates, directions).map((i) => candidates[i]);
  const found = gains(able.map(({ values }) => values.map(({ value }) => value)));
  let ends = [null, null];
  if (directions.length <= 2 || able.length <= most) {
    const draw = drawsOf(able, metrics);
    ends = middleOf(Array.from({ length: draws }, () => hypervolume(gains(draw()), reference)));
  }
  return {
    covered: hypervolume(found, reference),
    low: ends[0],
    high: ends[1],
    beyond: Math.max(0, hypervolume([...found, directions.map(() => 0)], reference) - 1),
  };
}

function middleOf(values) {
  const ordered = [...values].sort((a, b) => a - b);
  const outside = Math.floor(ordered.length / OUTSIDE);
  return [ordered[outside], ordered[ordered.length - 1 - outside]];
}
