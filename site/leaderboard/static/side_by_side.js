// Tables with a column a run: metrics with their ratios to the first run, and what was configured.
"use strict";

const NEVER_COMPARED = ["modelled", "simulated"];

function headsOf(title, runs, css) {
  const named = runs.map((run) =>
    make("th", { scope: "col", class: css }, `${run.letter} `, make("small", {}, run.title)));
  return [make("th", { scope: "col" }, title), ...named];
}

// Draws the table of metrics; returns the doubts that its verdicts are in.
function drawMetrics(table, runs, all) {
  const doubts = new Set();
  table.tHead.rows[0].replaceChildren(...headsOf("Metric", runs, "number"));
  table.tBodies[0].replaceChildren(...metricNames(runs, all).map((name) => {
    const metric = metricOf(name, runs);
    const cells = runs.map((run, i) => {
      const contrast = i ? contrastOf(name, run, runs[0]) : null;
      for (const doubt of contrast?.doubts ?? []) {
        doubts.add(`${run.letter} against ${runs[0].letter}: ${doubt}`);
      }
      return drawRunCell(metric, run, contrast);
    });
    return make("tr", {}, metricHead(metric), ...cells);
  }));
  return [...doubts];
}

// The headline metrics that any run has a value of; all metrics where asked for, or where none of
// the runs has a headline.
function metricNames(runs, all) {
  const measured = runs.flatMap((run) => run.measurements.filter((m) => m.value !== undefined));
  const known = new Set(measured.map((m) => m.name));
  const listed = LEANBOARD.metrics.filter((metric) => known.has(metric.name));
  const headlines = listed.filter((metric) => metric.shown).map((metric) => metric.name);
  if (!all && headlines.length) return headlines;
  const names = listed.map((metric) => metric.name);
  return [...names, ...[...known].filter((name) => !names.includes(name)).sort()];
}

// How a metric is shown; one that the board has no column of keeps its name and its unit.
function metricOf(name, runs) {
  const found = LEANBOARD.metrics[metricPlace(name)];
  if (found) return found;
  const unit = runs.map((run) => run.named.get(name)?.unit).find(Boolean) ?? "";
  const suffix = unit === "1" ? "" : unit;
  return { name, label: name, factor: 1, suffix, arrow: "", better: "", quality: 0 };
}

function metricHead(metric) {
  const head = make("th", { scope: "row", title: metric.better }, metric.label);
  if (metric.arrow) head.append(" ", make("span", { "aria-hidden": "true" }, metric.arrow));
  if (metric.suffix) head.append(make("small", {}, metric.suffix));
  return head;
}

function drawRunCell(metric, run, contrast) {
  const found = run.named.get(metric.name);
  if (found?.value === undefined) {
    return dashCell(`not measured: ${found?.reason ?? "the run did not measure it"}`);
  }
  const parts = [found.summary, `n = ${found.n}`, found.made, found.provenance, found.reason].filter(Boolean);
  const cell = make("td", { class: "number", title: parts.join(", ") });
  if (NEVER_COMPARED.includes(found.provenance)) {
    cell.append(make("span", { class: "badge" }, found.provenance), " ");
  }
  if (metric.quality && !run.ranked) {
    cell.append(make("span", { class: "badge plain", title: LEANBOARD.unranked }, "not ranked"), " ");
  }
  cell.append(make("span", { class: "value" }, formatNumber(found.value * metric.factor)));
  const span = found.low === undefined ? "" : formatSpan(found.low, found.high, metric.factor);
  cell.append(make("small", { class: "span" }, span));
  if (contrast) cell.append(...drawContrast(contrast));
  return cell;
}

function dashCell(title) {
  const dash = make("span", { "aria-hidden": "true" }, DASH);
  return make("td", { class: "number null", title }, dash, make("span", { class: "hidden" }, title));
}

// The ratio (or difference) to the first run: its verdict, its interval, and how it was made.
function drawContrast(found) {
  if (found.reason !== undefined) {
    if (!found.reason) return [];
    const told = make("span", { class: "hidden" }, `: ${found.reason}`);
    return [make("small", { class: "contrast", title: found.reason }, "not compared", told)];
  }
  const [value, ends] = contrastTexts(found);
  const line = make("small", { class: "contrast" });
  if (found.verdict) line.append(drawVerdict(found), " ");
  line.append(`${found.statistic} `, make("b", {}, value));
  const exact = !found.paired && found.low !== undefined && found.low === found.high;
  const how = exact ? "exact: both were counted" : `${ends}, ${found.paired ? "paired" : "unpaired"}`;
  return [line, make("small", { class: "contrast" }, how)];
}

// The value of a contrast, and its interval.
function contrastTexts({ statistic, value, low, high }) {
  const ends = [low, high].filter((end) => end !== undefined);
  if (statistic !== "ratio") {
    return [formatNumber(value), ends.length ? formatSpan(low, high, 1) : "no interval"];
  }
  const [text, from, to] = ratioTexts(value, ends);
  if (from === undefined) return [text, "no interval"];
  return [text, to === undefined ? `from ${from}, no upper end` : `${from} \u2013 ${to}`];
}

function drawVerdict({ verdict, doubts }) {
  const css = doubts.length ? "doubted" : LEANBOARD.verdicts[verdict];
  const text = `${LEANBOARD.glyphs[verdict]} ${verdict}${doubts.length ? LEANBOARD.doubt : ""}`.trimStart();
  const title = doubts.length ? `in doubt: ${doubts.join("; ")}` : verdict;
  return make("span", { class: `gain ${css}`, title }, text);
}

// Draws what differs in configuration and environment (or everything); returns how many lines do.
function drawTerms(table, runs, all) {
  const lines = termLines(runs);
  const differing = lines.filter((line) => line.differs);
  table.tHead.rows[0].replaceChildren(...headsOf("Term", runs, "term"));
  const rows = [];
  let title = null;
  for (const line of all ? lines : differing) {
    if (line.title !== title) {
      title = line.title;
      const head = make("th", { scope: "rowgroup", colspan: runs.length + 1 }, title);
      rows.push(make("tr", { class: "group" }, head));
    }
    const cells = line.texts.map((text) => make("td", { class: "term" }, text ?? DASH));
    const name = make("th", { scope: "row" }, line.name);
    rows.push(make("tr", all && line.differs ? { class: "differs" } : {}, name, ...cells));
  }
  table.tBodies[0].replaceChildren(...rows);
  return { differing: differing.length, all: lines.length };
}

// Every term of any run, section by section: { title, name, texts (one a run), differs }.
function termLines(runs) {
  const sections = new Map();
  runs.forEach((run, place) => {
    for (const [title, terms] of [...run.configuration, ...run.environment]) {
      if (!sections.has(title)) sections.set(title, new Map());
      const names = sections.get(title);
      for (const [name, text] of terms) {
        if (!names.has(name)) names.set(name, Array(runs.length).fill(undefined));
        names.get(name)[place] = text;
      }
    }
  });
  return [...sections].flatMap(([title, names]) => [...names].map(([name, texts]) =>
    ({ title, name, texts, differs: texts.some((text) => text !== texts[0]) })));
}
