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
  drawCompareLinks(place, run.baselinePlace);
  drawAgain(run);
  drawMeasured(run);
  drawAgainst(run.compared);
  drawQuality(run.quality);
  drawRoofline(run);
  part("plots").replaceChildren(...run.plots.map((plot) =>
    make("section", {}, make("h2", {}, plot.heading), drawMadePlot(plot))));
  drawSpread({ ...run, place, number: 1, letter: "" });
  drawStability(run);
  drawRelated(run.related);
  part("configuration").replaceChildren(...[...run.configuration, ["Block", run.block]].map(card));
  part("environment").replaceChildren(...run.environment.map(card));
  drawTerms(part("record"), run.record);
  part("facts").hidden = !run.facts.length;
  drawTerms(part("facts").querySelector("dl"), run.facts);
  part("files").replaceChildren(...run.files.flatMap(([text, href]) =>
    [make("a", { href, download: "" }, text), " "]));
}

function drawCompareLinks(place, baseline) {
  const compare = (...runs) => `compare.html#${new URLSearchParams({ runs: runs.join(",") })}`;
  part("compare").href = compare(place);
  part("compare-both").hidden = !baseline;
  part("compare-both").href = compare(baseline, place);
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

// What the record itself holds, with a value or with a reason for none; scores have tables of their own.
function drawMeasured(run) {
  const joined = new Set(run.joined);
  const own = run.measurements.filter(({ name }) => !joined.has(name));
  const missed = own.filter(({ value }) => value === undefined);
  const rows = own.filter(({ value }) => value !== undefined).map(measuredRow);
  part("values").hidden = !rows.length;
  part("measured").tBodies[0].replaceChildren(...rows);
  part("gaps").hidden = !missed.length;
  drawTerms(part("missed"), missed.map(({ name, reason }) => [labelOf(name), reason]));
}

function drawAgainst(compared) {
  const section = part("against");
  section.hidden = !compared;
  if (!compared) return;
  const [text, href] = compared.baseline;
  const link = href ? make("a", { href }, text) : text;
  part("baseline").replaceChildren(link, compared.note && ` (${compared.note})`);
  part("doubts").hidden = !compared.doubts.length;
  part("doubts").lastElementChild.textContent = compared.doubts.join("; ");
  section.querySelector("tbody").replaceChildren(...compared.lines.map((line) =>
    comparedRow(line, compared.doubts)));
}

function comparedRow([label, name, statistic, ...rest], everyDoubt) {
  const [value, interval, n, launches, verdict, css, doubts, method, reason] = rest;
  const told = doubts.map((place) => everyDoubt[place]).join("; ");
  const gain = make("span", { class: `gain ${css}`, ...(told && { title: `in doubt: ${told}` }) }, verdict);
  return make("tr", {}, metricHead(label, name), make("td", {}, statistic),
    ...[value, interval, n, launches].map((text) => make("td", { class: "number" }, text)),
    make("td", {}, gain), ...[method, reason].map((text) => make("td", { class: "muted" }, text)));
}

// Scores with their gates, and whether the outputs are the baseline's; nothing where it is not known.
function drawQuality(quality) {
  part("quality").hidden = !quality;
  if (!quality) return;
  for (const [id, text] of [["same", quality.same], ["kept", quality.gate]]) {
    part(id).hidden = text === "";
    part(id).querySelector("span").textContent = text;
  }
  for (const id of ["scores", "near", "derived"]) drawLines(part(id), quality[id]);
  part("underived").hidden = !quality.missed.length;
  drawTerms(part("underived").querySelector("dl"), quality.missed);
  part("scoring").hidden = !quality.scoring.length;
  part("scoring").querySelector(".cards").replaceChildren(...quality.scoring.map(card));
}

function drawRoofline({ roofline, roof }) {
  drawLines(part("roofline"), roofline);
  part("roof").replaceChildren(...(roof ? [drawMadePlot(roof)] : []));
}

// Puts lines of texts into the table of a part, which is hidden without any; the first text of a line
// is its head.
function drawLines(place, lines) {
  place.hidden = !lines.length;
  const heads = [...place.querySelectorAll("thead th")];
  const cell = (text, i) => make("td", { class: heads[i + 1].className }, text);
  const rows = lines.map(([head, ...cells]) =>
    make("tr", {}, make("th", { scope: "row" }, head), ...cells.map(cell)));
  place.querySelector("tbody").replaceChildren(...rows);
}

// How it was sampled and whether it was stable; nothing of a scoring run.
function drawStability({ sampled, stability }) {
  const unstable = stability?.verdict === "unstable";
  part("unsteady").hidden = !unstable;
  for (const id of ["sampled", "stability"]) part(id).hidden = !stability;
  if (!stability) return;
  part("unsteady").querySelector("span").textContent = stability.sentence;
  const [steady, taken] = [part("stability"), part("sampled")];
  taken.querySelector("p").textContent = sampled.note;
  drawTerms(taken.querySelector("dl"), sampled.terms);
  steady.querySelector("h2").textContent = `Stability: ${stability.verdict}`;
  steady.querySelector("p").textContent = stability.sentence;
  steady.querySelector("ul").replaceChildren(...stability.causes.map(([kind, message]) =>
    make("li", {}, make("strong", {}, kind), `: ${message}`)));
  steady.querySelector("h3").hidden = !stability.figures.length;
  drawTerms(steady.querySelector("dl"), stability.figures);
}

function drawSpread(run) {
  part("spread").hidden = !LATENCIES.some((name) => drawable([run], name).length);
  if (!part("spread").hidden) drawQuantilePlots(part("plot"), [run], false);
}

function drawRelated(links) {
  part("related").hidden = !links.length;
  part("related").querySelector("ul").replaceChildren(...links.map(([text, href]) =>
    make("li", {}, make("a", { href }, text))));
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
  const solid = one.provenance === "measured" || one.provenance === "counted";
  const provenance = make("span", { class: solid ? "badge plain" : "badge" }, one.provenance ?? "unknown");
  return make("tr", {}, metricHead(labelOf(one.name), one.name),
    ...cells.map((text) => make("td", { class: "number" }, text)), make("td", {}, one.summary),
    make("td", {}, provenance), make("td", { class: "muted" }, one.made ?? one.reason ?? ""));
}

// The head of a metric's line: what it is called, and its name below.
function metricHead(label, name) {
  return make("th", { scope: "row" }, label, make("small", {}, make("code", {}, name)));
}

function card([title, terms]) {
  const list = make("dl", { class: "terms" });
  drawTerms(list, terms);
  return make("section", { class: "card" }, make("h3", {}, title), list);
}

function drawTerms(list, terms) {
  list.replaceChildren(...terms.map(([name, text]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, text))));
}

onState((state) => void showRun(state));
void showRun(readState());
