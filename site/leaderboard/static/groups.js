// Tables whose rows are ranked only beside their peers: those on the same hardware and workload. What
// groups.py and grouped.html make for the page without JavaScript.
"use strict";

// The rows that ran and are of the hardware, workload and model that the state names.
function peerRows(state) {
  return chosenRows(state, ["hardware", "workload", "model"]);
}

// The texts that peers have in common, in the order by which groups stand.
function peerTexts(byModel) {
  const { hardware, workloadChoice, model } = LEANBOARD.texts;
  return byModel ? [hardware, workloadChoice, model] : [hardware, workloadChoice];
}

// Rows by hardware and workload, and by model if asked, in the order of these texts.
function groupsOf(rows, byModel) {
  const texts = peerTexts(byModel);
  const groups = new Map();
  for (const row of rows) {
    const key = texts.map((text) => text.rows[row]).join(" ");
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(row);
  }
  const compare = (a, b) => texts.map((text) => text.rows[a] - text.rows[b]).find(Boolean) ?? 0;
  return [...groups.values()].sort((one, other) => compare(one[0], other[0]));
}

function headingOf(row, byModel) {
  const [hardware, workload, ...model] = peerTexts(byModel).map((text) => textOf(text, row));
  return [workload, hardware, ...model].join(" \u00b7 ");
}

// The metric columns of a table: what their heads say, with the places of their metrics.
function headsOf(table) {
  return [...table.tHead.querySelectorAll("th[data-of]")].map((head) =>
    ({ ...head.dataset, place: metricPlace(head.dataset.of) }));
}

// The places of the metrics that some row has.
function placesOf(heads) {
  return heads.map((head) => head.place).filter((place) => place >= 0);
}

// Puts groups into a table, no more rows than a page shows; returns how many are left out. `describe`
// gives of a group's rows { heading, note, rows in their order, cells of a row }.
function drawGroups(table, groups, describe) {
  const columns = table.tHead.rows[0].cells.length;
  const bodies = [];
  let room = LEANBOARD.pageRows;
  for (const rows of groups) {
    if (room === 0) break;
    const group = describe(rows);
    const shown = group.rows.slice(0, room);
    room -= shown.length;
    bodies.push(drawGroup({ ...group, rows: shown }, columns));
  }
  if (!groups.length) {
    const nothing = make("td", { colspan: columns, class: "reason" }, "No run of this choice.");
    bodies.push(make("tbody", {}, make("tr", {}, nothing)));
  }
  for (const body of [...table.tBodies]) body.remove();
  table.append(...bodies);
  return groups.reduce((count, rows) => count + rows.length, 0) - (LEANBOARD.pageRows - room);
}

function drawGroup({ heading, note, rows, cells }, columns) {
  const head = make("th", { scope: "rowgroup", colspan: columns }, heading);
  if (note) head.append(" ", make("small", {}, note));
  const body = make("tbody", {}, make("tr", { class: "group" }, head));
  for (const row of rows) body.append(make("tr", { "data-row": row }, drawPeer(row), ...cells(row)));
  return body;
}

// The name of a row with its marks, and what it is beside technique and workload.
function drawPeer(row) {
  const { texts, baseline, href } = LEANBOARD;
  const name = make("th", { scope: "row" }, make("a", { href: href[row] }, textOf(texts.techniqueText, row)));
  if (baseline[row]) name.append(" ", make("span", { class: "badge plain" }, "baseline"));
  const unstable = textOf(texts.unstable, row);
  if (unstable) name.append(" ", drawUnstable(unstable));
  const beside = `${textOf(texts.model, row)} \u00b7 ${textOf(texts.backendText, row)}`;
  name.append(make("small", {}, beside), ...drawFailedGate(row));
  return name;
}

// A value of the board as drawRanked takes it; a dash with the head's reason where no row has one.
function rankedCell({ place, missing }, row, ranks) {
  if (place < 0) return { title: `not measured: ${missing}` };
  const cells = LEANBOARD.cells[place];
  const { factor } = LEANBOARD.metrics[place];
  const [value, low, high] = [cells.value[row], cells.low[row], cells.high[row]];
  const title = titleOf(place, row);
  if (value === null) return { title };
  return {
    title,
    text: formatNumber(value * factor),
    span: low !== null && high !== null ? formatSpan(low, high, factor) : "",
    estimate: textOf(cells.estimate, row),
    unranked: cells.unranked[row],
    rank: ranks.get(row),
  };
}

// A cell of { title, text, span, estimate, unranked, rank, marks }; without a text it is a dash.
function drawRanked({ title, text, span, estimate, unranked, rank, marks = [] }) {
  if (text === undefined) {
    const dash = make("span", { "aria-hidden": "true" }, DASH);
    return make("td", { class: "number null", title }, dash, make("span", { class: "hidden" }, title));
  }
  const cell = make("td", { class: "number", title });
  if (rank) cell.append(drawRank(rank), " ");
  if (estimate) cell.append(make("span", { class: "badge" }, estimate), " ");
  if (unranked) {
    cell.append(make("span", { class: "badge plain", title: LEANBOARD.unranked }, "not ranked"), " ");
  }
  for (const mark of marks) cell.append(mark, " ");
  cell.append(make("span", { class: "value" }, text), make("small", { class: "span" }, span));
  return cell;
}

// Says how many rows a page leaves out.
function tellMore(element, count) {
  element.hidden = count === 0;
  element.textContent = count
    ? `${formatCount(count, "more row")}: choose a hardware, a workload or a model to see them.` : "";
}
