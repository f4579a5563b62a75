// The page that any run of a very large board is shown on: the address names the run, and the data
// come from its shard.
"use strict";

const UNKNOWN_RUN = "The address names no run of this board.";

function part(id) {
  return document.getElementById(id);
}

async function showRun({ run = "" }) {
  const found = isPlace(run) ? await loadRuns([run]) : [];
  const [place] = found;
  part("run").hidden = !place;
  part("told").textContent = place ? "" : UNKNOWN_RUN;
  if (place) drawRun(place, LEANBOARD_RUNS[place]);
}

function drawRun(place, run) {
  document.title = `${run.title} \u00b7 leanboard`;
  part("title").textContent = run.title;
  part("subtitle").textContent = run.subtitle;
  part("badges").replaceChildren(...badges(run));
  const compared = [run.baselinePlace, place].filter(Boolean).join(",");
  part("compare").href = `compare.html#${new URLSearchParams({ runs: compared })}`;
  drawAgain(run);
  drawQuality(run.quality);
  const measured = run.measurements.filter((one) => one.value !== undefined);
  const missed = run.measurements.filter((one) => one.value === undefined);
  part("measured").tBodies[0].replaceChildren(...measured.map(measuredRow));
  part("missed").replaceChildren(...missed.map(({ name, reason }) => term(labelOf(name), reason)));
  for (const name of ["configuration", "environment"]) {
    part(name).replaceChildren(...run[name].map(([title, terms]) => card(title, terms)));
  }
  drawRoofline(run.roofline);
  drawStability(run.stability);
  part("record").replaceChildren(...run.record.map(([name, text]) => term(name, text)));
  part("files").replaceChildren(...run.files.flatMap(([text, href]) =>
    [make("a", { href, download: "" }, text), " "]));
  drawSpread({ ...run, place, number: 1, letter: "" });
}

// Why it failed, what a reader must know, and the commands that run it again.
function drawAgain(run) {
  part("failure").hidden = !run.failure;
  part("failure").querySelector("p").textContent = run.failure;
  part("warnings").hidden = !run.warnings.length;
  part("warnings").querySelector("ul").replaceChildren(...run.warnings.map((text) => make("li", {}, text)));
  part("again").hidden = !run.reproduce;
  part("reproduce").textContent = run.reproduce;
  part("command").textContent = run.command;
  part("folder").hidden = !run.needsFolder;
}

// Scores with their gates, and whether the outputs are the baseline's; nothing where it is not known.
function drawQuality(quality) {
  const section = part("quality");
  section.hidden = !quality;
  if (!quality) return;
  for (const [id, text] of [["same", quality.same], ["kept", quality.gate]]) {
    part(id).hidden = text === "";
    part(id).querySelector("span").textContent = text;
  }
  section.querySelector(".scroller").hidden = !quality.scores.length;
  drawLines(section, quality.scores);
  section.querySelector("details").hidden = !quality.scoring.length;
  const cards = quality.scoring.map(([title, terms]) => card(title, terms));
  section.querySelector(".cards").replaceChildren(...cards);
}

function drawRoofline(lines) {
  part("roofline").hidden = !lines.length;
  drawLines(part("roofline"), lines);
}

// Puts lines of texts into the table of a section; the first text of a line is its head.
function drawLines(section, lines) {
  const rows = lines.map(([head, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, head), ...cells.map((text) => make("td", {}, text))));
  section.querySelector("tbody").replaceChildren(...rows);
}

function drawStability(stability) {
  const section = part("stability");
  section.hidden = !stability;
  if (!stability) return;
  section.querySelector("h2").textContent = `Stability: ${stability.verdict}`;
  section.querySelector("p").textContent = stability.sentence;
  section.querySelector("ul").replaceChildren(...stability.causes.map((text) => make("li", {}, text)));
  section.querySelector("dl").replaceChildren(...stability.terms.map(([name, text]) => term(name, text)));
}

function drawSpread(run) {
  part("spread").hidden = !LATENCIES.some((name) => drawable([run], name).length);
  if (!part("spread").hidden) drawQuantilePlots(part("plot"), [run], false);
}

function badges(run) {
  const texts = [[run.status === "ok" ? "good" : "bad", run.status], ["plain", run.origin]];
  if (run.baseline) texts.push(["plain", "baseline"]);
  if (run.unstable) texts.push(["bad", `unstable: ${run.unstable}`]);
  const marks = texts.flatMap(([css, text]) => [make("span", { class: `badge ${css}` }, text), " "]);
  return [...marks, make("span", { class: "muted" }, `started ${run.started}`)];
}

function labelOf(name) {
  return LEANBOARD.metrics[metricPlace(name)]?.label ?? name;
}

function measuredRow(one) {
  const metric = LEANBOARD.metrics[metricPlace(one.name)];
  const factor = metric?.factor ?? 1;
  const suffix = metric?.suffix ?? (one.unit === "1" ? "" : one.unit);
  const span = one.low === undefined ? DASH : formatSpan(one.low, one.high, factor);
  const cells = [`${formatNumber(one.value * factor)} ${suffix}`.trimEnd(), span, formatNumber(one.n, 0)];
  const head = make("th", { scope: "row" }, labelOf(one.name), make("small", {}, make("code", {}, one.name)));
  const solid = one.provenance === "measured" || one.provenance === "counted";
  const provenance = make("span", { class: solid ? "badge plain" : "badge" }, one.provenance ?? "unknown");
  return make("tr", {}, head, ...cells.map((text) => make("td", { class: "number" }, text)),
    make("td", {}, one.summary), make("td", {}, provenance), make("td", {}, againstText(one.against)),
    make("td", { class: "muted" }, one.made ?? one.reason ?? ""));
}

// What the record says of a metric beside its baseline's; nothing where it was not compared.
function againstText(against) {
  if (!against) return "";
  const doubt = against.doubts.length ? ` (in doubt: ${against.doubts.join("; ")})` : "";
  const { statistic, value, low, high, verdict } = against;
  const ends = low === undefined ? [] : [low, high];
  const plain = () => [value, ...ends].map((each) => formatNumber(each));
  const [text, ...told] = statistic === "ratio" ? ratioTexts(value, ends) : plain();
  return `${statistic} ${text}${told.length ? ` [${told.join(", ")}]` : ""}, ${verdict}${doubt}`;
}

function card(title, terms) {
  const list = make("dl", { class: "terms" }, ...terms.map(([name, text]) => term(name, text)));
  return make("section", { class: "card" }, make("h3", {}, title), list);
}

function term(name, text) {
  return make("div", {}, make("dt", {}, name), make("dd", {}, text));
}

onState((state) => void showRun(state));
void showRun(readState());
