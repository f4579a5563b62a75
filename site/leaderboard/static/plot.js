// A scatter plot in SVG: axes, error bars, labels that do not collide.
"use strict";

const NARROW = 520;
const PLOT = { width: 720, height: 440, left: 72, right: 696, top: 20, bottom: 384 };

// Fits the picture to its place, so that its letters keep their size on a phone.
function fitPlot(width, height = 440) {
  PLOT.width = Math.min(900, Math.max(320, Math.round(width)));
  PLOT.right = PLOT.width - 24;
  PLOT.height = height;
  PLOT.bottom = height - 56;
}

function drawGrid(x, y) {
  const { left, right, top, bottom } = PLOT;
  const grid = make("g", { class: "grid" });
  for (const [value, text] of x.ticks) {
    const at = x.at(value);
    grid.append(make("line", { x1: at, x2: at, y1: top, y2: bottom }));
    grid.append(make("text", { x: at, y: bottom + 18, "text-anchor": "middle" }, text));
  }
  for (const [value, text] of y.ticks) {
    const at = y.at(value);
    grid.append(make("line", { x1: left, x2: right, y1: at, y2: at }));
    grid.append(make("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, text));
  }
  return grid;
}

function drawAxes(x, y) {
  const { left, right, top, bottom, height } = PLOT;
  const turned = `translate(16 ${(top + bottom) / 2}) rotate(-90)`;
  const title = { class: "axis-title", "text-anchor": "middle" };
  return [
    make("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    make("line", { class: "axis", x1: left, x2: left, y1: top, y2: bottom }),
    make("text", { ...title, x: (left + right) / 2, y: height - 12 }, x.title),
    make("text", { ...title, transform: turned }, y.title),
  ];
}

// The first place for a label that covers nothing; null where there is none.
function placeLabel(mark, taken) {
  const width = mark.label.length * 7.2;
  for (const step of [0, -1, 1, -2, 2]) {
    const y = mark.y + 4 + step * 14;
    for (const [anchor, x, left] of [
      ["start", mark.x + 10, mark.x + 10],
      ["end", mark.x - 10, mark.x - 10 - width],
      ["middle", mark.x, mark.x - width / 2],
    ]) {
      const box = [left, y - 11, left + width, y + 3];
      const inside = left >= PLOT.left && box[2] <= PLOT.width && box[1] >= 0 && box[3] <= PLOT.bottom;
      const free = taken.every((o) => box[2] <= o[0] || o[2] <= box[0] || box[3] <= o[1] || o[3] <= box[1]);
      if (inside && free) {
        taken.push(box);
        return { x, y, "text-anchor": anchor };
      }
    }
  }
  return null;
}

// The shapes of groups, as corners around a point; the first is a circle, which has none: shapes.py.
const SHAPES = LEANBOARD.shapes;

function shapeAt(number, x, y) {
  const corners = SHAPES[number % SHAPES.length];
  if (!corners.length) return make("circle", { cx: x, cy: y, r: 6 });
  return make("polygon", { points: corners.map(([dx, dy]) => `${x + dx},${y + dy}`).join(" ") });
}

// The pixel at which a name starts, so that it ends inside the picture.
function nameStart(name, wanted) {
  return Math.max(4, Math.min(wanted, PLOT.width - name.length * 7.6 - 4));
}

// Where the name of a mark stands while it has the pointer or the focus, if no label fits.
function spareAt(mark) {
  const y = mark.y > PLOT.top + 16 ? mark.y - 12 : mark.y + 22;
  return { class: "spare", x: nameStart(mark.name, mark.x), y };
}

function drawMark(mark, taken) {
  const parts = [make("title", {}, mark.title)];
  const { x, y, barX, barY } = mark;
  if (barX) parts.push(make("line", { class: "bar", x1: barX[0], x2: barX[1], y1: y, y2: y }));
  if (barY) parts.push(make("line", { class: "bar", x1: x, x2: x, y1: barY[0], y2: barY[1] }));
  parts.push(shapeAt(mark.shape, x, y));
  const label = mark.label ? placeLabel(mark, taken) : null;
  parts.push(make("text", label ?? spareAt(mark), label ? mark.label : mark.name));
  const attributes = { class: `point ${mark.css}`, href: mark.href, "data-row": mark.row };
  return svgLink(mark.stop ? attributes : { ...attributes, tabindex: "-1" }, ...parts);
}

// `lines` are { points, css, title }. What is drawn last, and so on top, gets its label's place first.
function drawPlot(x, y, marks, lines, description) {
  const svg = make("svg", {
    class: marks.length > LEANBOARD.mostNamed ? "plot crowded" : "plot",
    viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "group", "aria-label": description,
  });
  svg.append(drawGrid(x, y), ...drawAxes(x, y), ...lines.map(drawLine));
  const taken = marks.map((mark) => [mark.x - 7, mark.y - 7, mark.x + 7, mark.y + 7]);
  svg.append(...[...marks].reverse().map((mark) => drawMark(mark, taken)).reverse());
  return svg;
}

function drawLine({ points, css, title }) {
  return make("polyline", { class: css, points }, ...(title ? [make("title", {}, title)] : []));
}
