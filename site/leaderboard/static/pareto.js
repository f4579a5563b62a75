// The Pareto page: which runs stand on the chosen axes, which are on the front, and the plot.
"use strict";

const explorer = { form: null, defaults: {} };
const drawLoadedChoice = drawsWhenLoaded((text) => { document.getElementById("caption").textContent = text; });

function chosenRows(state) {
  const { texts } = LEANBOARD;
  // A workload is chosen by its text: the same name at another size is not comparable.
  const controls = {
    hardware: texts.hardware, workload: texts.workloadText, model: texts.model, backend: texts.backend,
  };
  const names = Object.keys(controls).filter((name) => state[name]);
  return [...Array(LEANBOARD.rows).keys()].filter((row) =>
    textOf(texts.status, row) === "ok"
    && names.every((name) => textOf(controls[name], row) === state[name]));
}

// Why a run has no place on an axis; empty if it has one.
function whyNot(place, row, log) {
  const metric = LEANBOARD.metrics[place];
  const cells = LEANBOARD.cells[place];
  if (cells.value[row] === null) return `${metric.label}: ${titleOf(place, row)}`;
  const estimate = textOf(cells.estimate, row);
  if (estimate) return `${metric.label}: ${estimate} ${LEANBOARD.estimate}`;
  return log && cells.value[row] <= 0 ? `${metric.label}: not above 0, so not on a log axis` : "";
}

// Why a run is drawn without a rank; empty if it competes for the front.
function whyHollow(row, quality) {
  const unstable = textOf(LEANBOARD.texts.unstable, row);
  if (unstable) return `${LEANBOARD.unstableRun} (${unstable})`;
  return quality && !LEANBOARD.ranked[row] ? LEANBOARD.unranked : "";
}

// Splits the rows into those that compete, those only shown, and those left out with a reason.
function staged(rows, places, logs) {
  const quality = places.some((place) => LEANBOARD.metrics[place].quality);
  const stage = [];
  const hollow = [];
  const left = [];
  for (const row of rows) {
    const missing = whyNot(places[0], row, logs[0]) || whyNot(places[1], row, logs[1]);
    const reason = missing || whyHollow(row, quality);
    if (reason) left.push([row, reason]);
    if (!missing) (reason ? hollow : stage).push(row);
  }
  return { stage, hollow, left };
}

// Row to the share of draws in which it is on the front.
function chancesOf(rows, places, directions) {
  const points = rows.map((row) => ({
    name: LEANBOARD.href[row],
    values: places.map((place) => {
      const { value, low, high } = LEANBOARD.cells[place];
      return { value: value[row], low: low[row], high: high[row] };
    }),
  }));
  const names = places.map((place) => LEANBOARD.metrics[place].name);
  const shares = frontMembership(points, names, directions, LEANBOARD.draws);
  return new Map(rows.map((row, i) => [row, shares[i]]));
}

function axisOf(place, rows, log, start, end, count) {
  const metric = LEANBOARD.metrics[place];
  const cells = LEANBOARD.cells[place];
  const values = rows.flatMap((row) => [cells.value[row], cells.low[row], cells.high[row]])
    .filter((value) => value !== null && (!log || value > 0)).map((value) => value * metric.factor);
  const unit = metric.suffix ? ` (${metric.suffix})` : "";
  const title = `${metric.label}${unit}, ${metric.direction} is better`;
  return makeAxis(title, values.length ? values : [1, 2], log, start, end, count);
}

function barOf(axis, place, row, log) {
  const { low, high } = LEANBOARD.cells[place];
  const { factor } = LEANBOARD.metrics[place];
  const known = low[row] !== null && high[row] !== null && (!log || low[row] > 0);
  return known ? [axis.at(low[row] * factor), axis.at(high[row] * factor)] : null;
}

function markOf(row, css, axes, places, logs) {
  const [x, y] = places.map((place, i) =>
    axes[i].at(LEANBOARD.cells[place].value[row] * LEANBOARD.metrics[place].factor));
  const values = places.map((place) => {
    const metric = LEANBOARD.metrics[place];
    return `${metric.short} ${formatNumber(LEANBOARD.cells[place].value[row] * metric.factor)} ${metric.suffix}`.trim();
  });
  const name = nameOf(row);
  // On a phone there is room for the names of the front only; the others say theirs when touched.
  const label = css === "front" || PLOT.width >= NARROW ? name : "";
  return {
    row, css, x, y, label,
    title: `${name}, ${textOf(LEANBOARD.texts.model, row)}: ${values.join(", ")}`,
    href: LEANBOARD.href[row],
    barX: barOf(axes[0], places[0], row, logs[0]),
    barY: barOf(axes[1], places[1], row, logs[1]),
  };
}

// The edge of the region that the front dominates, as steps.
function stairs(marks, direction) {
  const ordered = [...marks].sort((a, b) => a.x - b.x || a.y - b.y);
  return ordered.flatMap((mark, i) => {
    const before = ordered[i - 1];
    if (!before) return [`${mark.x},${mark.y}`];
    const corner = direction === "lower" ? `${mark.x},${before.y}` : `${before.x},${mark.y}`;
    return [corner, `${mark.x},${mark.y}`];
  }).join(" ");
}

function listItem(row, note) {
  const link = make("a", { href: LEANBOARD.href[row] }, nameOf(row));
  return make("li", { "data-row": row }, link, " ", make("small", {}, note));
}

function drawExplorer(state) {
  const places = [metricPlace(state.x), metricPlace(state.y)];
  return drawLoadedChoice(places, () => drawChoice(state, places));
}

function drawChoice(state, places) {
  fitPlot(document.getElementById("plot").clientWidth);
  const logs = [state.logx === "1", state.logy === "1"];
  const metrics = places.map((place) => LEANBOARD.metrics[place]);
  const { stage, hollow, left } = staged(chosenRows(state), places, logs);
  const points = stage.map((row) => places.map((place) => LEANBOARD.cells[place].value[row]));
  const directions = metrics.map((metric) => metric.direction);
  const front = new Set(paretoFront(points, directions).map((i) => stage[i]));
  const chances = chancesOf(stage, places, directions);
  const drawn = [...stage, ...hollow];
  const axes = [
    axisOf(places[0], drawn, logs[0], PLOT.left, PLOT.right, PLOT.width < NARROW ? 4 : 6),
    axisOf(places[1], drawn, logs[1], PLOT.bottom, PLOT.top, 6),
  ];
  const cssOf = (row) => (front.has(row) ? "front" : hollow.includes(row) ? "hollow" : "beaten");
  const marks = drawn.map((row) => markOf(row, cssOf(row), axes, places, logs));
  const onFront = marks.filter((mark) => mark.css === "front");
  const words = `${metrics[0].label} against ${metrics[1].label}`;
  const description = `${words}: ${drawn.length} points, ${front.size} of them on the front`;
  const line = onFront.length > 1 ? stairs(onFront, metrics[0].direction) : "";
  const nothing = make("p", { class: "none" }, "No run of this choice has a value on both axes.");
  const plot = drawn.length ? drawPlot(axes[0], axes[1], marks, line, description) : nothing;
  document.getElementById("plot").replaceChildren(plot);
  document.getElementById("caption").textContent = `${words}: ${state.workload} on ${state.hardware}`;
  const note = (row) => `${textOf(LEANBOARD.texts.model, row)}; in ${formatNumber(chances.get(row) * 100, 1)} % of draws`;
  const maybe = stage.filter((row) => !front.has(row) && chances.get(row) >= LEANBOARD.leastChance);
  document.getElementById("front").replaceChildren(...[...front].map((row) => listItem(row, note(row))));
  document.getElementById("maybe").replaceChildren(...maybe.map((row) => listItem(row, note(row))));
  document.getElementById("maybe-section").hidden = maybe.length === 0;
  document.getElementById("left").replaceChildren(...left.map(([row, reason]) => listItem(row, reason)));
  document.getElementById("none-left").hidden = left.length > 0;
}

function currentState() {
  const controls = [...explorer.form.elements].filter((control) => control.name);
  return Object.fromEntries(controls.map((control) => [control.name, controlValue(control)]));
}

function restoreExplorer(state) {
  for (const control of explorer.form.elements) {
    const initial = explorer.defaults[control.name] ?? "";
    if (control.name) setControl(control, state[control.name] ?? initial, initial);
  }
  return drawExplorer(currentState());
}

function startExplorer() {
  explorer.form = document.getElementById("axes");
  if (!explorer.form) return;
  explorer.defaults = { ...document.getElementById("figure").dataset };
  explorer.form.hidden = false;
  explorer.form.addEventListener("input", () => {
    const state = currentState();
    writeState(Object.fromEntries(
      Object.entries(state).filter(([name, value]) => value !== explorer.defaults[name])));
    void drawExplorer(state);
  });
  explorer.form.addEventListener("submit", (event) => event.preventDefault());
  explorer.form.addEventListener("reset", (event) => {
    event.preventDefault();
    writeState({});
    void restoreExplorer({});
  });
  onState(restoreExplorer);
  addEventListener("resize", () => void drawExplorer(currentState()));
  void restoreExplorer(readState());
}

startExplorer();
