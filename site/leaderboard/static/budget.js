// The budget page: which rows keep the reader's limits, which of them is the best, why others fell out.
"use strict";

const STEPS = 100;
const NAMED = 4;

const finder = { form: null, limits: [] };
const drawFound = drawsWhenLoaded((text) => { document.getElementById("answer").textContent = text; });

// A limit in the address is in the metric's unit, in its field in the metric's scale. No digit of what a
// reader typed is lost on the way there and back: numbers hold 15 digits, and the address has 17.
function inField({ factor }, text) {
  if (text === "") return "";
  return isNumber(text) ? String(Number((Number(text) * factor).toPrecision(15))) : null;
}

// The shortest number that gives that of the field again.
function inAddress(metric, text) {
  if (!isNumber(text)) return "";
  const bound = Number(text) / metric.factor;
  const digits = [...Array(17).keys()].map((i) => String(Number(bound.toPrecision(i + 1))));
  return digits.find((number) => inField(metric, number) === String(Number(text))) ?? String(bound);
}

// Of the statistics of one kind the first that these rows have is offered; one that is limited stays.
function fitLimits(rows) {
  const offered = new Set();
  for (const { element, kind, place, field, slider } of finder.limits) {
    const extent = extentOf(place, rows);
    const wanted = extent !== null && !offered.has(kind);
    if (wanted) offered.add(kind);
    element.hidden = !wanted && field.value === "";
    slider.disabled = extent === null || extent[0] === extent[1];
    if (!slider.disabled) fitSlider(slider, field, extent, LEANBOARD.metrics[place].direction);
  }
}

// Spans a slider over the data; at its loose end nothing is limited.
function fitSlider(slider, field, [low, high], direction) {
  const open = direction === "lower" ? high : low;
  // A little less than a step, so that rounding does not leave the last one beyond the end.
  Object.assign(slider, { min: low, max: high, step: ((high - low) / STEPS) * (1 - 1e-9) });
  slider.dataset.open = open;
  slider.value = field.value === "" ? open : field.value;
  slider.setAttribute("aria-valuetext", field.value === "" ? "no limit" : field.value);
}

function drawFinder(state) {
  const best = metricPlace(state.best);
  const places = [...new Set([best, ...finder.limits.map((limit) => limit.place)])];
  return drawFound(places, () => drawFinderNow(state, best));
}

function drawFinderNow(state, best) {
  const rows = peerRows(state);
  fitLimits(rows);
  const limits = finder.limits.filter(({ field }) => state[field.name] !== "")
    .map(({ place, field }) => ({ place, bound: Number(state[field.name]) }));
  const judged = rows.map((row) => ({ row, verdicts: limits.map((limit) => judge(row, limit)) }));
  const out = judged.filter(({ verdicts }) => verdicts.some(({ why }) => why));
  const stays = judged.filter(({ verdicts }) => verdicts.every(({ why }) => !why));
  const crossed = (verdicts) => limits.filter((_, i) => verdicts[i].risky).map((limit) => limit.place);
  const kept = new Map(stays.map(({ row, verdicts }) => [row, new Set(crossed(verdicts))]));
  // A limit on the accuracy is the reader's own, and takes the place of the gate.
  const gated = !limits.some(({ place }) => LEANBOARD.metrics[place].gated);
  drawKept(kept, limits, best);
  drawOut(out);
  const parts = [tallyOf(rows.length, kept, limits.length), " ", ...answerOf([...kept.keys()], best, gated)];
  document.getElementById("answer").replaceChildren(...parts);
}

// The ranks of all rows on the hardware and workload, whichever the limits leave. Only a limit that takes
// the place of the gate says who competes.
function ranksOf(row, best, limits) {
  const insteadOfGate = limits.filter(({ place }) => LEANBOARD.metrics[place].gated);
  if (!insteadOfGate.length) return ranksBeside(row, best).ranks;
  const keeps = (other) => insteadOfGate.every((limit) => !judge(other, limit).why);
  return ranksAmong(rowsBeside(row).filter(keeps), best, false);
}

// `kept` maps a row to the places of the limits that its intervals cross.
function drawKept(kept, limits, best) {
  const table = document.getElementById("kept");
  const places = [...new Set([best, ...limits.map((limit) => limit.place)])];
  const rows = bestFirst([...kept.keys()], best);
  const ranks = rows.length && comparableRows(rows) ? ranksOf(rows[0], best, limits) : new Map();
  const shown = rows.slice(0, LEANBOARD.pageRows);
  const first = make("th", { scope: "col" }, "Technique");
  table.tHead.rows[0].replaceChildren(first, ...places.map((place) => limitHead(place, limits)));
  table.tBodies[0].replaceChildren(...shown.map((row) => {
    const cells = places.map((place) => {
      const marks = kept.get(row).has(place) ? [riskMark()] : [];
      return drawRanked({ ...rankedCell({ place }, row, place === best ? ranks : new Map()), marks });
    });
    return make("tr", { "data-row": row }, drawPeer(row), ...cells);
  }));
  if (!rows.length) {
    const nothing = make("td", { class: "reason", colspan: places.length + 1 }, "No run keeps every limit.");
    table.tBodies[0].append(make("tr", {}, nothing));
  }
  tellLeft("more-kept", rows.length - shown.length);
}

function limitHead(place, limits) {
  const metric = LEANBOARD.metrics[place];
  const limit = limits.find((one) => one.place === place);
  const sign = metric.direction === "lower" ? "\u2264" : "\u2265";
  const title = `${metric.label}, ${metric.better}`;
  const head = make("th", { scope: "col", class: "number", title }, metric.short);
  head.append(" ", make("span", { "aria-hidden": "true" }, metric.arrow));
  if (metric.suffix) head.append(" ", make("small", {}, metric.suffix));
  if (limit) head.append(" ", make("small", {}, `${sign} ${formatNumber(limit.bound * metric.factor)}`));
  return head;
}

function riskMark() {
  return make("span", { class: "badge", title: "its interval crosses the limit" }, "may break the limit");
}

function drawOut(out) {
  const shown = out.slice(0, LEANBOARD.pageRows);
  document.getElementById("out").tBodies[0].replaceChildren(...shown.map(({ row, verdicts }) => {
    const reasons = verdicts.filter(({ why }) => why).map(({ why }) => make("div", {}, why));
    return make("tr", { "data-row": row }, drawPeer(row), make("td", { class: "reason" }, ...reasons));
  }));
  document.getElementById("fell").hidden = out.length === 0;
  tellLeft("more-out", out.length - shown.length);
}

function tellLeft(id, count) {
  const element = document.getElementById(id);
  element.hidden = count === 0;
  element.textContent = count ? `${formatCount(count, "more row")} are not shown: choose a model.` : "";
}

function tallyOf(all, kept, limited) {
  if (all === 0) return "No run of this choice.";
  if (limited === 0) return `No limit is set: ${formatCount(all, "row")} remain${all === 1 ? "s" : ""}.`;
  const risky = [...kept.values()].filter((places) => places.size > 0).length;
  const mark = risky ? `, ${formatNumber(risky, 0)} of them may break one` : "";
  return `${formatNumber(kept.size, 0)} of ${formatCount(all, "row")} keep every limit${mark}.`;
}

// The best of the rows in a sentence, with whom it cannot be told from.
function answerOf(rows, place, gated) {
  if (!rows.length) return [];
  const metric = LEANBOARD.metrics[place];
  const winner = winnerOf(rows, place, gated);
  if (!winner) {
    const which = gated ? " that did not fail the gate" : "";
    return [`By ${metric.label} there is no best: no run${which} has a value that can be compared.`];
  }
  const { row, shown, sure, outside } = winner;
  const [kind, doubt] = shown ? ["Best", ""] : ["Best value", `, ${LEANBOARD.notShown}`];
  const parts = [`${kind} by ${metric.label}: `, ...figureOf(row, place), `${doubt}. `,
    rivalsText(rows, winner), outsideText(outside, gated)];
  return sure === null ? parts : [...parts, ` ${LEANBOARD.sureBest}: `, ...figureOf(sure, place), "."];
}

// A row with its value on a metric and the interval.
function figureOf(row, place) {
  const metric = LEANBOARD.metrics[place];
  const { value, low, high } = LEANBOARD.cells[place];
  const [from, to] = [low[row], high[row]];
  const span = from !== null && to !== null ? ` [${formatSpan(from, to, metric.factor)}]` : "";
  const link = make("a", { href: LEANBOARD.href[row] }, nameOf(row));
  const model = textOf(LEANBOARD.texts.model, row);
  return [link, ` (${model}), ${withUnit(metric, value[row])}${span}`];
}

// Says how many rows have a better value than the best, but cannot be ranked.
function outsideText(count, gated) {
  if (!count) return "";
  const why = `unstable by an unknown amount${gated ? ", or failed the gate" : ""}`;
  return ` ${formatCount(count, "row")} with a better value cannot be ranked: ${why}.`;
}

function rivalsText(rows, { row, rivals }) {
  if (rows.length === 1) return "";
  if (!rivals.length) return "It can be told apart from all others that are compared with it.";
  const names = rivals.slice(0, NAMED).map(nameOf);
  if (rivals.length > NAMED) names.push(`${formatNumber(rivals.length - NAMED, 0)} more`);
  return `It cannot be told apart from ${formatCount(rivals.length, "other")} (${names.join(", ")}): `
    + "the intervals meet, or there is none.";
}

function startFinder() {
  finder.form = document.getElementById("limits");
  if (!finder.form) return;
  const { best, hardware, workload } = finder.form.dataset;
  const defaults = { best, hardware, workload, model: "" };
  for (const element of finder.form.querySelectorAll(".limit")) {
    const field = element.querySelector("input[type=number]");
    const slider = element.querySelector("input[type=range]");
    const place = metricPlace(element.dataset.metric);
    finder.limits.push({ element, kind: element.dataset.kind, place, field, slider });
    defaults[field.name] = "";
  }
  document.getElementById("no-script").hidden = true;
  document.getElementById("finder").hidden = false;
  const metricOf = (field) => LEANBOARD.metrics[metricPlace(field.name)];
  bindForm(finder.form, {
    defaults,
    put: (field, text) => inField(metricOf(field), text),
    take: (field) => inAddress(metricOf(field), field.value),
    draw: drawFinder,
  });
}

startFinder();
