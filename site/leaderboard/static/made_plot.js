// Plots whose pixels were computed when the site was built (plot_data.py), drawn as plot.html draws them.
"use strict";

const MADE_WIDTH = 720;

function drawMadePlot({ description, height, x, y, lines, dots, marks }) {
  fitPlot(MADE_WIDTH, height);
  const [across, up] = [x, y].map(([title, ticks]) => ({ title, ticks, at: (pixel) => pixel }));
  const svg = make("svg", {
    class: "plot", viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": description,
  });
  svg.append(drawGrid(across, up), ...drawAxes(across, up));
  svg.append(...lines.map(([css, points, title]) => drawLine({ points, css, title })));
  svg.append(...dots.flatMap(([css, places]) => places.split(" ").map((place) => drawDot(css, place))));
  svg.append(...marks.map(drawLabelled));
  return make("figure", { tabindex: 0 }, svg, make("figcaption", {}, description));
}

function drawDot(css, place) {
  const [cx, cy] = place.split(",");
  return make("g", { class: css }, make("circle", { cx, cy, r: 3 }));
}

function drawLabelled({ css, title, x, y, bar, label, at }) {
  const parts = [make("title", {}, title)];
  if (bar) parts.push(make("line", { class: "bar", x1: x, x2: x, y1: bar[0], y2: bar[1] }));
  const [labelX, labelY, anchor] = at;
  parts.push(make("circle", { cx: x, cy: y, r: 3 }));
  parts.push(make("text", { x: labelX, y: labelY, "text-anchor": anchor }, label));
  return make("g", { class: css }, ...parts);
}
