// The page of several metrics: a line for each run across parallel axes, and the same as a table.
"use strict";

const CONTROLS = ["m1", "m2", "m3", "m4"];
const UPRIGHT = { top: 56, bottom: 420, gap: 13, name: 260, mostNumbered: 25 };
const STATES = { front: "on the front", beaten: "dominated", hollow: "shown only" };
const drawLoadedLines = drawsWhenLoaded((text) => {
  document.getElementById("caption").textContent = text;
});

function drawSeveral(state) {
  const names = new Set(CONTROLS.map((name) => state[name]).filter(Boolean));
  const places = [...names].map(metricPlace);
  return drawLoadedLines([...places, ...ratioSources(places)], () => drawChoice(state, places));
}

function drawChoice(state, places) {
  fitPlot(document.getElementById("plot").clientWidth);
  const { stage, hollow, left } = staged(chosenRows(state, STAGED_BY), places);
  const found = { ...contested(stage, places), hollow };
  const shown = shownRows(found);
  const uprights = uprightsOf(places, shown.map(({ row }) => row));
  const labels = places.map((place) => LEANBOARD.metrics[place].label).join(", ");
  const description = `${labels}: ${shown.length} runs, ${found.front.length} of them on the front`;
  const nothing = make("p", { class: "none" }, "No run of this choice has a value on every axis.");
  const paths = pathsOf(shown, uprights, found.front);
  const picture = shown.length ? drawParallels(uprights, paths, description) : nothing;
  document.getElementById("plot").replaceChildren(picture);
  const place = ["workload", "hardware"].map((name) => choiceText(name, state[name])).join(" on ");
  document.getElementById("caption").textContent = `${description}. ${place}`;
  const titles = places.map((place) => make("li", {}, axisTitle(place)));
  document.getElementById("uprights").replaceChildren(...titles);
  const count = (css) => shown.filter((one) => one.css === css).length;
  tellUndrawn({
    "dominated run": found.maybe.length + found.beaten.length - count("beaten"),
    "hollow run": hollow.length - count("hollow"),
  });
  drawLists({ ...found, left });
  drawVolumes(stage, places);
  tellTakenAsExact(stage, places);
  drawValues(shown, uprights, stage.length + hollow.length);
}

// The rows to draw and how, those on the front last and so on top.
function shownRows(found) {
  const looks = [
    ["beaten", thinned([...found.maybe, ...found.beaten], LEANBOARD.mostBeaten)],
    ["hollow", thinned(found.hollow, LEANBOARD.mostBeaten)],
    ["front", found.front],
  ];
  return looks.flatMap(([css, rows]) => rows.map((row) => ({ row, css })));
}

// The axes, the better end of each at the top.
function uprightsOf(places, rows) {
  const narrow = PLOT.width < NARROW;
  const [first, end] = narrow ? [20, PLOT.width - 36] : [64, PLOT.width - 64];
  const step = (end - first) / Math.max(1, places.length - 1);
  return places.map((place, i) => {
    const { direction, factor, short, suffix } = LEANBOARD.metrics[place];
    const values = rows.map((row) => LEANBOARD.cells[place].value[row] * factor);
    const { top, bottom } = UPRIGHT;
    const ends = direction === "lower" ? [top, bottom] : [bottom, top];
    const axis = makeAxis(axisTitle(place), values.length ? values : [0, 1], false, ...ends);
    const head = `${i + 1}. ${short}${suffix ? ` (${suffix})` : ""}`;
    const last = i > 0 && i === places.length - 1;
    const label = narrow ? `${i + 1}.` : head;
    return { place, axis, x: first + i * step, last, number: i + 1, head, label };
  });
}

function pathsOf(shown, uprights, front) {
  const numbers = new Map(front.map((row, i) => [row, String(i + 1)]));
  const corners = shown.map(({ row }) => uprights.map(({ place, axis, x }) =>
    [x, axis.at(LEANBOARD.cells[place].value[row] * LEANBOARD.metrics[place].factor)]));
  const onFront = shown.map((_, i) => i).filter((i) => shown[i].css === "front");
  const moved = apart(onFront.map((i) => corners[i].at(-1)[1]));
  const spread = new Map(onFront.map((i, at) => [i, moved[at]]));
  const crowded = shown.length > LEANBOARD.mostNamed;
  return shown.map(({ row, css }, i) => {
    const [x, y] = corners[i].at(-1);
    const number = front.length <= UPRIGHT.mostNumbered ? numbers.get(row) ?? "" : "";
    const numberY = spread.get(i) ?? y;
    const points = corners[i].map((corner) => corner.join(",")).join(" ");
    return { row, css, x, y, points, number, numberY, stop: css === "front" || !crowded };
  });
}

// Places moved down, then up, until they are a gap apart and none is below the end.
function apart(places) {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const moved = [...places];
  let least = -Infinity;
  for (const i of order) {
    moved[i] = Math.max(moved[i], least);
    least = moved[i] + UPRIGHT.gap;
  }
  let most = UPRIGHT.bottom;
  for (const i of order.reverse()) {
    moved[i] = Math.min(moved[i], most);
    most = moved[i] - UPRIGHT.gap;
  }
  return moved;
}

function drawParallels(uprights, paths, description) {
  const svg = make("svg", {
    class: paths.length > LEANBOARD.mostNamed ? "plot crowded" : "plot",
    viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "group", "aria-label": description,
  });
  const places = uprights.map(({ place }) => place);
  svg.append(...uprights.flatMap(drawUpright));
  svg.append(...paths.map((path) => drawPath(path, places)));
  svg.append(make("g", { class: "ticks" }, ...uprights.flatMap(drawTicks)));
  return svg;
}

function drawUpright({ x, number, last, label }) {
  const anchor = number === 1 ? "start" : last ? "end" : "middle";
  const at = number === 1 ? 4 : last ? PLOT.width - 4 : x;
  const y = number % 2 ? 18 : 36;
  return [
    make("line", { class: "axis", x1: x, x2: x, y1: UPRIGHT.top, y2: UPRIGHT.bottom }),
    make("text", { class: "axis-title", x: at, y, "text-anchor": anchor }, label),
  ];
}

function drawTicks({ x, axis, last }) {
  const place = { x: last ? x - 6 : x + 6, "text-anchor": last ? "end" : "start" };
  return axis.ticks.map(([value, text]) => make("text", { ...place, y: axis.at(value) + 4 }, text));
}

function drawPath({ row, css, x, y, points, number, numberY, stop }, places) {
  const parts = [
    make("title", {}, pointTitle(row, places)),
    make("polyline", { class: "hit", points }),
    make("polyline", { class: "stroke", points }),
  ];
  if (number) {
    parts.push(make("line", { class: "leader", x1: x, x2: x + 10, y1: y, y2: numberY }));
    parts.push(make("text", { x: x + 14, y: numberY + 4 }, number));
  }
  const name = nameOf(row);
  parts.push(make("text", { class: "spare", x: nameStart(name, x - UPRIGHT.name), y: y - 8 }, name));
  const attributes = { class: `path ${css}`, href: LEANBOARD.href[row], "data-row": row };
  return svgLink(stop ? attributes : { ...attributes, tabindex: "-1" }, ...parts);
}

// The table: the front first, then what it dominates, then what is only shown.
function drawValues(shown, uprights, count) {
  const order = Object.keys(STATES);
  const rows = [...shown].sort((a, b) => order.indexOf(a.css) - order.indexOf(b.css));
  const heads = uprights.map(({ head }) => make("th", { scope: "col", class: "number" }, head));
  const table = document.getElementById("values");
  const kept = [...table.tHead.rows[0].cells].slice(0, 2);
  table.tHead.rows[0].replaceChildren(...kept, ...heads);
  const drawn = rows.slice(0, LEANBOARD.mostListed).map((each) => drawValueRow(each, uprights));
  table.tBodies[0].replaceChildren(...drawn);
  const more = count - LEANBOARD.mostListed;
  tellIn("more-values", more > 0
    ? `${formatNumber(more, 0)} more runs are not in the table: choose a model or a backend.` : "");
}

function drawValueRow({ row, css }, uprights) {
  const link = make("a", { href: LEANBOARD.href[row] }, nameOf(row));
  const model = make("small", {}, whereOf(row));
  const cells = uprights.map(({ place }) => drawValue(place, row));
  return make("tr", {}, make("th", { scope: "row" }, link, model), make("td", {}, STATES[css]), ...cells);
}

function drawValue(place, row) {
  const { value, low, high } = LEANBOARD.cells[place];
  const { factor } = LEANBOARD.metrics[place];
  const span = low[row] === null || high[row] === null ? "" : formatSpan(low[row], high[row], factor);
  const text = formatNumber(value[row] * factor);
  const ends = make("small", { class: "span" }, span);
  return make("td", { class: "number", title: titleOf(place, row) }, text, ends);
}

startExplorer(drawSeveral);
