// The page of costs: stored times and joules times the reader's factors, as costs.py makes them.
"use strict";

const NOTHING_MADE = "nothing was generated, so nothing has a cost";
const LARGEST_FACTOR = 1e6;

const pricing = { form: null, table: null, heads: [], fields: [], defaults: {} };
const drawPriced = drawsWhenLoaded((text) => { document.getElementById("assumed").textContent = text; });

// The cost of a measured value: null without one, or where it divides by 0.
function costOf({ times, inverse }, factor, value) {
  if (value === null || (inverse && value <= 0)) return null;
  return inverse ? (factor * Number(times)) / value : factor * Number(times) * value;
}

function costCell(head, factor, row, ranks) {
  if (head.place < 0) return { title: `not measured: ${head.missing}` };
  const cells = LEANBOARD.cells[head.place];
  const value = costOf(head, factor, cells.value[row]);
  if (value === null) {
    return { title: cells.value[row] === null ? titleOf(head.place, row) : `not measured: ${NOTHING_MADE}` };
  }
  const ends = [cells.low[row], cells.high[row]].map((end) => costOf(head, factor, end));
  return {
    title: titleOf(head.place, row),
    text: formatNumber(value),
    span: ends.includes(null) ? "" : formatSpan(Math.min(...ends), Math.max(...ends), 1),
    estimate: textOf(cells.estimate, row),
    unranked: cells.unranked[row],
    rank: ranks.get(row),
  };
}

function drawCosts(state) {
  const sliders = pricing.form.querySelectorAll("input[type=range]");
  for (const slider of sliders) slider.value = state[slider.dataset.of];
  return drawPriced(placesOf(pricing.heads), () => drawCostsNow(state));
}

function drawCostsNow(state) {
  const order = pricing.heads.find((head) => head.cost === state.order);
  const describe = (rows) => {
    const ranks = pricing.heads.map(({ place, factor }) =>
      (place < 0 || Number(state[factor]) === 0 ? new Map() : ranksBeside(rows[0], place).ranks));
    return {
      heading: headingOf(rows[0], false),
      rows: order.place < 0 ? rows : bestFirst(rows, order.place),
      cells: (row) => pricing.heads.map((head, i) =>
        drawRanked(costCell(head, Number(state[head.factor]), row, ranks[i]))),
    };
  };
  const more = drawGroups(pricing.table, groupsOf(peerRows(state), false), describe);
  tellMore(document.getElementById("more"), more);
  tellFactors(state);
}

// Says which factors are in the figures, and whether they are the examples.
function tellFactors(state) {
  const parts = pricing.fields.map(({ name, label, unit }) => `${label} ${state[name]} ${unit}`.trim());
  const examples = pricing.fields.every(({ name }) => state[name] === pricing.defaults[name]);
  if (examples) parts.push("example values: yours will differ");
  document.getElementById("assumed").replaceChildren(make("span", {}, parts.join(" \u00b7 ")));
}

function startCosts() {
  pricing.form = document.getElementById("factors");
  if (!pricing.form) return;
  pricing.table = document.getElementById("costs");
  pricing.heads = headsOf(pricing.table);
  pricing.defaults = { hardware: "", workload: "", model: "", order: pricing.heads[0].cost };
  for (const field of pricing.form.querySelectorAll("input[type=number]")) {
    const [label, unit] = [field.dataset.label, field.dataset.unit];
    pricing.fields.push({ name: field.name, label, unit });
    pricing.defaults[field.name] = field.defaultValue;
  }
  const known = (_, text) => (isNumber(text, 0, LARGEST_FACTOR) ? String(Number(text)) : null);
  bindForm(pricing.form, {
    defaults: pricing.defaults,
    put: known,
    take: (control) => known(control, control.value) ?? pricing.defaults[control.name],
    draw: drawCosts,
  });
}

startCosts();
