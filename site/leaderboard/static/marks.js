// The marks of the Pareto plot: points with error bars, the edges of fronts, curves along knobs.
"use strict";

// The two axes of rows, and the pixels of a value on them. `view` holds the metrics' places and
// whether each axis is logarithmic.
function axesOf(rows, { places, logs }) {
  const ticks = PLOT.width < NARROW ? 4 : 6;
  return [
    axisOf(places[0], rows, logs[0], PLOT.left, PLOT.right, ticks),
    axisOf(places[1], rows, logs[1], PLOT.bottom, PLOT.top, 6),
  ];
}

function axisOf(place, rows, log, start, end, count) {
  const { factor } = LEANBOARD.metrics[place];
  const cells = LEANBOARD.cells[place];
  const values = rows.flatMap((row) => [cells.value[row], cells.low[row], cells.high[row]])
    .filter((value) => value !== null && (!log || value > 0)).map((value) => value * factor);
  return makeAxis(axisTitle(place), values.length ? values : [1, 2], log, start, end, count);
}

// The ends of an error bar, which goes to the edge of the plot where a logarithmic axis has no room for it.
function barOf(axis, place, row) {
  const { low, high } = LEANBOARD.cells[place];
  const { factor } = LEANBOARD.metrics[place];
  if (low[row] === null || high[row] === null) return null;
  return [low[row], high[row]].map((end) => axis.at(Math.max(end * factor, axis.low)));
}

// What stands beside a point: its techniques with their knobs, and its backend where named points have
// several.
function pointLabel(row, { backends }) {
  const { techniqueText, backendText } = LEANBOARD.texts;
  const technique = textOf(techniqueText, row);
  return backends > 1 ? `${technique} \u00b7 ${textOf(backendText, row)}` : technique;
}

// The mark of a shown row { row, css, group }; the group is null where all runs share a front.
function markOf({ row, css, group }, axes, view) {
  const [x, y] = view.places.map((place, i) =>
    axes[i].at(LEANBOARD.cells[place].value[row] * LEANBOARD.metrics[place].factor));
  const [barX, barY] = view.places.map((place, i) => barOf(axes[i], place, row));
  const important = css === "front" || !view.crowded;
  // On a phone there is room for the names of the front only; the others say theirs when touched.
  const label = important && (css === "front" || PLOT.width >= NARROW) ? pointLabel(row, view) : "";
  return {
    row, css: css + groupClass(group), shape: group ?? 0, x, y, barX, barY, label, name: nameOf(row),
    title: pointTitle(row, view.places, view.everywhere), href: LEANBOARD.href[row], stop: important,
  };
}

// The edge of the region that a front dominates, as steps; none where the front is one point.
function edgeOf(marks, direction) {
  if (marks.length < 2) return [];
  const ordered = [...marks].sort((a, b) => a.x - b.x || a.y - b.y);
  const points = ordered.flatMap((mark, i) => {
    const before = ordered[i - 1];
    if (!before) return [`${mark.x},${mark.y}`];
    const corner = direction === "lower" ? `${mark.x},${before.y}` : `${before.x},${mark.y}`;
    return [corner, `${mark.x},${mark.y}`];
  });
  return [points.join(" ")];
}

// Curves along knobs, of which two points or more are drawn.
function curvesOf(marks) {
  const places = new Map(marks.map((mark) => [mark.row, `${mark.x},${mark.y}`]));
  return LEANBOARD.curves
    .map(({ rows, title }) => ({ title, css: "curve", points: rows.filter((row) => places.has(row)) }))
    .filter(({ points }) => points.length > 1)
    .map((curve) => ({ ...curve, points: curve.points.map((row) => places.get(row)).join(" ") }));
}

// The class of a group: its colour and the dashes of its front.
function groupClass(group) {
  return group === null ? "" : ` group-${group % SHAPES.length}`;
}

// The shape of a group, for a legend.
function drawKey(group) {
  const shape = make("g", { class: `point front${groupClass(group)}` }, shapeAt(group, 8, 8));
  return make("svg", { class: "key-shape", viewBox: "0 0 16 16", "aria-hidden": "true" }, shape);
}
