// How the latencies of several runs are spread: a line a run through its quantiles, and a table.
"use strict";

const LATENCIES = ["itl", "tpot", "ttft"];
const SHARE = "share of samples at or below";
const TIME_UNITS = [[1, "s"], [1e3, "ms"], [1e6, "\u00b5s"]];

// Factor and unit in which seconds read best, as format.py chooses them.
function timeScale(seconds) {
  const sizes = seconds.map(Math.abs).filter((value) => value > 0).sort((a, b) => a - b);
  const half = sizes.length / 2;
  const middle = sizes.length ? (sizes[Math.ceil(half) - 1] + sizes[Math.floor(half)]) / 2 : 1;
  return TIME_UNITS.find(([factor]) => middle * factor >= 1) ?? TIME_UNITS.at(-1);
}

// The runs with enough samples of a latency to draw: one point is no line.
function drawable(runs, name) {
  return runs.filter((run) => (run.samples[name]?.points.length ?? 0) > 1);
}

// Draws one figure a latency that any run has samples of.
function drawQuantilePlots(place, runs, log) {
  fitPlot(place.clientWidth);
  const figures = LATENCIES.map((name) => [name, drawable(runs, name)]).filter(([, drawn]) => drawn.length);
  place.replaceChildren(...figures.map(([name, drawn]) => drawQuantiles(name, drawn, log)));
}

function drawQuantiles(name, runs, log) {
  const { title } = runs[0].samples[name];
  const [factor, unit] = timeScale(runs.flatMap((run) => run.samples[name].points));
  const lines = runs.map((run) => run.samples[name].points.map((point) => point * factor));
  const every = lines.flat();
  const logarithmic = log && every.every((value) => value > 0);
  const count = PLOT.width < NARROW ? 4 : 6;
  const x = makeAxis(`${title} (${unit})`, every, logarithmic, PLOT.left, PLOT.right, count);
  const y = makeAxis(SHARE, [0, 1], false, PLOT.bottom, PLOT.top);
  const ends = (values) => `${formatNumber(values[0])} to ${formatNumber(values.at(-1))}`;
  const told = runs.map((run, i) => `${run.letter} from ${ends(lines[i])}`);
  const description = `${title} in ${unit}: ${told.join("; ")}`;
  const svg = make("svg", {
    class: "plot", viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": description,
  });
  svg.append(drawGrid(x, y), ...drawAxes(x, y));
  runs.forEach((run, i) => svg.append(...drawQuantileLine(run, lines[i], x, y, (i + 1) / (runs.length + 1))));
  return make("figure", {}, make("h3", {}, title), svg, make("figcaption", {}, description));
}

// The line of a run, and its letter beside it at the given share, so that letters do not collide.
function drawQuantileLine(run, values, x, y, share) {
  const last = values.length - 1;
  const points = values.map((value, i) => `${x.at(value).toFixed(2)},${y.at(i / last).toFixed(2)}`);
  const title = make("title", {}, `${run.letter}: ${run.title}`);
  const css = `quantile-line line-${run.number}`;
  const line = make("polyline", { class: css, points: points.join(" ") }, title);
  const beside = Math.round(share * last);
  const at = { x: x.at(values[beside]) + 6, y: y.at(beside / last) + 4 };
  return [line, make("text", { class: "line-letter", ...at }, run.letter)];
}

// Fills the table of quantiles: a line a latency and run.
function drawQuantileTable(table, runs) {
  const width = table.tHead.rows[0].cells.length;
  const rows = LATENCIES.flatMap((name) => {
    const sampled = runs.filter((run) => run.samples[name]);
    if (!sampled.length) return [];
    const [factor, unit] = timeScale(sampled.flatMap((run) => run.samples[name].points));
    const title = `${sampled[0].samples[name].title} (${unit})`;
    const head = make("tr", { class: "group" }, make("th", { scope: "rowgroup", colspan: width }, title));
    return [head, ...sampled.map((run) => quantileRow(run, run.samples[name], factor))];
  });
  table.tBodies[0].replaceChildren(...rows);
}

function quantileRow(run, latency, factor) {
  const cells = latency.percentiles.map((value, i) =>
    (value === null
      ? dashCell(`not shown: ${latency.reasons[i]}`)
      : make("td", { class: "number" }, formatNumber(value * factor))));
  const head = make("th", { scope: "row" }, `${run.letter} `, make("small", {}, run.title));
  return make("tr", {}, head, make("td", { class: "number" }, formatNumber(latency.n, 0)), ...cells);
}
