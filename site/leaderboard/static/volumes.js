// What the runs of a family of techniques cover together, against their baselines: as volumes.py.
"use strict";

const ACCURACY = "accuracy";
const ACCURACY_RATIO = "accuracy_ratio";
const POWERS = ["", "", "\u00b2", "\u00b3", "\u2074"];
const NO_VOLUMES = "No competing run of this choice has a ratio to its baseline on every axis.";

// The further metrics that the ratios of these are read from.
function ratioSources(places) {
  const scored = places.some((place) => LEANBOARD.metrics[place].name === ACCURACY);
  const ratio = metricPlace(ACCURACY_RATIO);
  return scored && ratio >= 0 ? [ratio] : [];
}

// Candidate / baseline on one axis: what a record says, or what is exact. Two values of separate runs
// make no ratio.
function ratioOf(place, row) {
  const cells = LEANBOARD.cells[place];
  if (cells.ratio[row] !== null) {
    const [value, low, high] = [cells.ratio[row], cells.ratioLow[row], cells.ratioHigh[row]];
    return { value, low, high, doubted: textOf(cells.doubts, row) !== "" };
  }
  const { name } = LEANBOARD.metrics[place];
  if (name === ACCURACY || name === ACCURACY_RATIO) return ratioOfAccuracies(row);
  const baseline = LEANBOARD.against[row];
  if (baseline === null || !isCounted(cells, row) || !isCounted(cells, baseline)) return null;
  const value = Number((cells.value[row] / cells.value[baseline]).toPrecision(6));
  return { value, low: null, high: null, doubted: false };
}

function ratioOfAccuracies(row) {
  const place = metricPlace(ACCURACY_RATIO);
  if (place < 0 || LEANBOARD.cells[place].value[row] === null) return null;
  const { value, low, high } = LEANBOARD.cells[place];
  return { value: value[row], low: low[row], high: high[row], doubted: false };
}

// Whether a value was counted and is above 0: it is the same in every run.
function isCounted(cells, row) {
  return cells.value[row] !== null && cells.value[row] > 0 && textOf(cells.provenance, row) === "counted";
}

// The volume of each family among competing rows, the largest first, and how many rows have none.
function familyVolumes(rows, places) {
  const families = new Map();
  let uncounted = 0;
  for (const row of rows) {
    const family = textOf(LEANBOARD.texts.techniqueFamily, row);
    if (!family) continue;
    const values = places.map((place) => ratioOf(place, row));
    if (!values.every(Boolean)) {
      uncounted += 1;
      continue;
    }
    if (!families.has(family)) families.set(family, []);
    families.get(family).push({ name: LEANBOARD.href[row], values });
  }
  const found = [...families].map(([family, runs]) => ({ family, runs, ...volumeOf(runs, places) }));
  found.sort((a, b) => b.covered - a.covered || (a.family < b.family ? -1 : 1));
  return { found, uncounted };
}

function volumeOf(runs, places) {
  const metrics = places.map((place) => LEANBOARD.metrics[place]);
  return againstBaseline(
    runs,
    metrics.map(({ name }) => name),
    metrics.map(({ direction }) => direction),
    LEANBOARD.draws,
    LEANBOARD.mostRanged,
  );
}

// `everywhere` tells that the rows are those of all hardware.
function drawVolumes(rows, places, everywhere = false) {
  const { found, uncounted } = familyVolumes(rows, places);
  document.getElementById("volume-unit").textContent = `doublings${POWERS[places.length]}`;
  document.getElementById("families").replaceChildren(...found.map(drawFamily));
  document.querySelector("#volumes .scroller").hidden = found.length === 0;
  tellIn("volume-note", found.length ? volumeNote(found, uncounted, everywhere) : NO_VOLUMES);
}

// Which runs are not counted, which volumes have no range, and what is counted together.
function volumeNote(found, uncounted, everywhere) {
  const unranged = found.filter(({ low }) => low === null).map(({ family }) => family).join(", ");
  const runs = formatCount(uncounted, "run");
  const sentences = [
    uncounted && `Not counted, for want of a ratio to a baseline on every axis: ${runs}.`,
    unranged && `No range for ${unranged}: draws of more than ${LEANBOARD.mostRanged} runs on three metrics`
      + " or more take too long.",
    everywhere && "The runs of all hardware count together, each against a baseline on its own.",
  ];
  return sentences.filter(Boolean).join(" ");
}

function drawFamily({ family, runs, covered, low, high, beyond }) {
  const range = low === null ? DASH : `${formatNumber(low, 2)} \u2013 ${formatNumber(high, 2)}`;
  const doubted = runs.filter(({ values }) => values.some((value) => value.doubted)).length;
  const basis = `${formatNumber(runs.length, 0)}${doubted ? `, ${formatNumber(doubted, 0)} in doubt` : ""}`;
  return make("tr", {},
    make("th", { scope: "row" }, family),
    make("td", { class: "number" }, formatNumber(covered, 2), make("small", { class: "span" }, range)),
    make("td", { class: "number" }, formatNumber(beyond, 2)),
    make("td", { class: "number" }, basis));
}
