// The Pareto page: which runs stand on the chosen axes, which are on a front, and the plot.
"use strict";

const drawLoadedChoice = drawsWhenLoaded((text) => {
  document.getElementById("caption").textContent = text;
});

function drawExplorer(state) {
  const places = [metricPlace(state.x), metricPlace(state.y)];
  return drawLoadedChoice([...places, ...ratioSources(places)], () => drawChoice(state, places));
}

function drawChoice(state, places) {
  fitPlot(document.getElementById("plot").clientWidth);
  const logs = [state.logx === "1", state.logy === "1"];
  // One front per hardware shows all hardware; else runs of one hardware only are compared.
  const everywhere = state.per === "hardware";
  document.querySelector("#axes [name=hardware]").disabled = everywhere;
  const rows = chosenRows(everywhere ? { ...state, hardware: "" } : state, STAGED_BY);
  const { stage, hollow, left } = staged(rows, places, logs);
  const groups = groupsOf(stage, hollow, places, state.per);
  const found = together(groups);
  const apart = state.per !== "all";
  const numbers = new Map(groups.flatMap(({ number, rows: own }) => own.map((row) => [row, number])));
  drawPicture(state, groups, shownRows(found, numbers), { places, logs, found, everywhere });
  drawGroups(groups, apart);
  const keyOf = (row) => (apart ? [drawKey(numbers.get(row)), " "] : []);
  drawLists({ ...found, left }, everywhere, keyOf);
  drawVolumes(stage, places, everywhere);
  tellTakenAsExact(stage, places);
}

// The groups that have a front each, sorted by name: all runs are one, unless `per` names what tells
// them apart. Those of models are what fronts.py makes.
function groupsOf(stage, hollow, places, per) {
  const { hardware, model, backend } = LEANBOARD.texts;
  const texts = { hardware, model, backend }[per];
  const nameOfGroup = (row) => (texts ? textOf(texts, row) : "");
  const names = texts ? new Set([...stage, ...hollow].map(nameOfGroup)) : new Set([""]);
  const groups = new Map([...names].sort().map((name) => [name, { competing: [], only: [] }]));
  for (const row of stage) groups.get(nameOfGroup(row)).competing.push(row);
  for (const row of hollow) groups.get(nameOfGroup(row)).only.push(row);
  return [...groups].map(([name, { competing, only }], i) => {
    const rows = [...competing, ...only];
    return { name, number: texts ? i : null, rows, hollow: only, ...contested(competing, places) };
  });
}

function together(groups) {
  const all = (name) => groups.flatMap((group) => group[name]);
  return {
    front: all("front"),
    maybe: all("maybe"),
    beaten: all("beaten"),
    hollow: all("hollow"),
    chances: new Map(groups.flatMap((group) => [...group.chances])),
    undecided: groups.reduce((count, group) => count + group.undecided, 0),
  };
}

// The rows to draw and how, those on a front last and so on top.
function shownRows(found, numbers) {
  const room = Math.max(0, LEANBOARD.mostBeaten - found.maybe.length);
  const looks = [
    ["beaten", [...found.maybe, ...thinned(found.beaten, room)]],
    ["hollow", thinned(found.hollow, LEANBOARD.mostBeaten)],
    ["front", found.front],
  ];
  return looks.flatMap(([css, rows]) => rows.map((row) => ({ row, css, group: numbers.get(row) })));
}

function drawPicture(state, groups, shown, { places, logs, found, everywhere }) {
  const metrics = places.map((place) => LEANBOARD.metrics[place]);
  const crowded = shown.length > LEANBOARD.mostNamed;
  const named = shown.filter(({ css }) => css === "front" || !crowded);
  const backends = new Set(named.map(({ row }) => textOf(LEANBOARD.texts.backendText, row))).size;
  const view = { places, logs, everywhere, crowded, backends };
  const axes = axesOf(shown.map(({ row }) => row), view);
  const marks = shown.map((each) => markOf(each, axes, view));
  const curves = state.curves === "1" ? curvesOf(marks) : [];
  const kept = thinned(curves, LEANBOARD.mostCurves);
  const lines = [...kept, ...groups.flatMap((group) => edgesOf(group, marks, metrics[0].direction))];
  const words = `${metrics[0].label} against ${metrics[1].label}`;
  const description = `${words}: ${marks.length} points, ${found.front.length} of them on the front`;
  const nothing = make("p", { class: "none" }, "No run of this choice has a value on both axes.");
  const plot = marks.length ? drawPlot(axes[0], axes[1], marks, lines, description) : nothing;
  document.getElementById("plot").replaceChildren(plot);
  const hardware = everywhere ? "all hardware" : choiceText("hardware", state.hardware);
  const place = `${choiceText("workload", state.workload)} on ${hardware}`;
  const each = state.per !== "all" ? `, one front per ${state.per}` : "";
  document.getElementById("caption").textContent = `${words}: ${place}${each}`;
  const count = (css) => shown.filter((one) => one.css === css).length;
  tellUndrawn({
    "dominated run": found.maybe.length + found.beaten.length - count("beaten"),
    "hollow run": found.hollow.length - count("hollow"),
    curve: curves.length - kept.length,
  });
}

// The edge of a group's front, with its name where there are several.
function edgesOf({ name, number, front }, marks, direction) {
  const members = new Set(front);
  const edges = edgeOf(marks.filter(({ row }) => members.has(row)), direction);
  const title = name ? `front of ${name}` : "";
  return edges.map((points) => ({ points, css: `front-line${groupClass(number)}`, title }));
}

// The legend of the groups: shape, name, and how many of its runs are on its front.
function drawGroups(groups, apart) {
  const list = document.getElementById("groups");
  const items = groups.map(({ name, number, front, rows }) => {
    const share = `${front.length} of ${formatCount(rows.length, "run")} on its front`;
    return make("li", {}, drawKey(number), ` ${name}: ${share}`);
  });
  if (groups.length > SHAPES.length) {
    items.push(make("li", {}, "Shapes repeat: the title of a point tells more."));
  }
  list.replaceChildren(...(apart ? items : []));
  list.hidden = !apart;
}

startExplorer(drawExplorer);
