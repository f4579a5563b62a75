// The cells of the table, as cells.py makes them for the page without JavaScript.
"use strict";

// How the value of a row came about, or why there is none.
function titleOf(place, row) {
  const cells = LEANBOARD.cells[place];
  const metric = LEANBOARD.metrics[place];
  const [summary, made, provenance, reason] =
    ["summary", "made", "provenance", "reason"].map((name) => textOf(cells[name], row));
  if (cells.value[row] === null) return `not measured: ${reason}`;
  const parts = [summary, `n = ${cells.n[row]}`, made, provenance, reason].filter(Boolean);
  const about = `${metric.label}: ${parts.join(", ")}`;
  const beside = metric.gated ? gateTitle(row) : textOf(cells.beside, row);
  return beside ? `${about}; ${beside}` : about;
}

// The gate of a row as a sentence.
function gateTitle(row) {
  const { gate, gateReason } = LEANBOARD.texts;
  const mark = LEANBOARD.gates[textOf(gate, row)];
  const reason = textOf(gateReason, row);
  return mark ? `gate: ${mark.text}, ${reason}` : `no gate: ${reason}`;
}

// How a row stands against its baseline: above 1 is better, whichever way the metric points.
function gainOf(place, row) {
  const cells = LEANBOARD.cells[place];
  const ratio = cells.ratio[row];
  if (ratio === null) return null;
  const factor = LEANBOARD.metrics[place].direction === "lower" ? 1 / ratio : ratio;
  const verdict = textOf(cells.verdict, row);
  const doubted = textOf(cells.doubts, row) !== "";
  const places = ratioPlaces(2, ratioEnds(cells, row), factor);
  return { factor, places, verdict, css: doubted ? "doubted" : LEANBOARD.verdicts[verdict], doubted };
}

// The whole sentence of a gain, for a pointer or a screen reader.
function gainTitle(place, row) {
  const cells = LEANBOARD.cells[place];
  const [verdict, doubts, made] = ["verdict", "doubts", "ratioMade"].map((name) => textOf(cells[name], row));
  const [ratio, launches] = ["ratio", "launches"].map((name) => cells[name][row]);
  const doubt = doubts ? `in doubt (${doubts}): ` : "";
  const beside = verdict === "better" || verdict === "worse" ? "than" : "against";
  const told = ratioText(ratio, ratioEnds(cells, row));
  const source = launches ? ` in ${formatCount(launches, "launch")}` : "";
  return `${doubt}${verdict} ${beside} the baseline: candidate / baseline = ${told}, `
    + `n = ${cells.ratioN[row]}${source}${made ? `, ${made}` : ""}`;
}

// A ratio with its interval, and the change that it is.
function ratioText(ratio, ends) {
  const [value, ...told] = ratioTexts(ratio, ends);
  const change = formatPercent(ratio - 1, ratioPlaces(3, ends, ratio, ...ends) - 2);
  return `${value}${told.length ? ` [${told.join(", ")}]` : ""}, ${change}`;
}

function ratioEnds({ ratioLow, ratioHigh }, row) {
  return ratioLow[row] === null || ratioHigh[row] === null ? [] : [ratioLow[row], ratioHigh[row]];
}

// The ratio of a gain and why it is in doubt, as texts in the cell: what its title says, for those without
// a pointer.
function drawRatio(place, row) {
  const cells = LEANBOARD.cells[place];
  const doubts = textOf(cells.doubts, row);
  const ratio = make("small", {}, `ratio ${ratioText(cells.ratio[row], ratioEnds(cells, row))}`);
  return doubts ? [ratio, make("small", { class: "why" }, `in doubt: ${doubts}`)] : [ratio];
}

// `ratios`: whether a reader asked for the ratios behind the gains.
function drawCell(place, row, ratios = false) {
  const metric = LEANBOARD.metrics[place];
  const cells = LEANBOARD.cells[place];
  const value = cells.value[row];
  const title = titleOf(place, row);
  if (value === null) {
    const dash = make("span", { "aria-hidden": "true" }, DASH);
    return make("td", { class: "number null", title }, dash, make("span", { class: "hidden" }, title));
  }
  const cell = make("td", { class: "number", title });
  const estimate = textOf(cells.estimate, row);
  if (estimate) cell.append(make("span", { class: "badge" }, estimate), " ");
  if (cells.unranked[row]) {
    cell.append(make("span", { class: "badge plain", title: LEANBOARD.unranked }, "not ranked"), " ");
  }
  const gain = gainOf(place, row);
  if (gain) cell.append(drawGain(gain, gainTitle(place, row)), " ");
  if (metric.gated) cell.append(...drawGate(row));
  cell.append(make("span", { class: "value" }, formatNumber(value * metric.factor)));
  const spanned = cells.low[row] !== null && cells.high[row] !== null;
  const span = spanned ? formatSpan(cells.low[row], cells.high[row], metric.factor) : "";
  cell.append(make("small", { class: "span" }, span));
  if (gain && ratios) cell.append(...drawRatio(place, row));
  if (!estimate && metric.largest > 0) cell.append(drawBar(metric, value, cells, row, spanned));
  return cell;
}

// The gate's mark: whether enough of the baseline's accuracy is kept.
function drawGate(row) {
  const mark = LEANBOARD.gates[textOf(LEANBOARD.texts.gate, row)];
  if (!mark) return [];
  return [make("span", { class: `badge ${mark.css}`, title: gateTitle(row) }, mark.text), " "];
}

// Why a row that failed the gate has no rank, below its name; nothing for other rows.
function drawFailedGate(row) {
  if (!failedGate(row)) return [];
  const badge = make("span", { class: "badge bad" }, LEANBOARD.failedGate);
  return [make("small", { class: "why" }, badge, ` ${textOf(LEANBOARD.texts.gateReason, row)}`)];
}

function drawGain({ factor, places, verdict, css, doubted }, title) {
  const doubt = doubted ? LEANBOARD.doubt : "";
  const text = `${LEANBOARD.glyphs[verdict]} ${formatNumber(factor, places)}\u00d7${doubt}`.trimStart();
  return make("span", { class: `gain ${css}`, title }, text);
}

// A bar from zero to the value, and the interval as a dark stroke inside it.
function drawBar(metric, value, cells, row, spanned) {
  const scale = LEANBOARD.barWidth / metric.largest;
  const svg = make("svg", {
    class: "mini", viewBox: `0 0 ${LEANBOARD.barWidth} 5`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  svg.append(make("rect", { class: "mini-bar", width: Math.max(0, value * scale), height: 5 }));
  if (spanned) {
    const start = Math.max(0, cells.low[row] * scale);
    const width = Math.max(LEANBOARD.markWidth, cells.high[row] * scale - start);
    svg.append(make("rect", { class: "mini-span", x: start, width, height: 5 }));
  }
  return svg;
}

// The mark of an unstable run: its causes unfold, by pointer and by keyboard.
function drawUnstable(causes) {
  const mark = make("summary", { class: "badge bad" }, "unstable");
  return make("details", { class: "mark" }, mark, make("small", {}, causes));
}
