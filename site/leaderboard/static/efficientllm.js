// EfficientLLM's metrics of the rows that a reader chooses, as efficientllm.py draws those of all.
"use strict";

const reader = { form: null, table: null, heads: [] };
const drawRead = drawsWhenLoaded(tellShown);

function tellShown(text) {
  document.getElementById("shown").textContent = text;
}

// Says which rows nobody is shown to be better than, in every column that has ranks.
function firstEverywhere(rows, ranks) {
  const ranked = ranks.filter((column) => column.size > 0);
  if (!ranked.length) return "no column has ranks";
  const first = rows.filter((row) => ranked.every((column) => column.get(row)?.first === 1));
  const columns = `rank 1 or a band from 1 in every ranked column (${ranked.length})`;
  return first.length ? `${columns}: ${first.map(nameOf).join(", ")}` : `no row has ${columns}`;
}

function drawReadings(state) {
  return drawRead(placesOf(reader.heads), () => {
    const describe = (rows) => {
      const ranks = reader.heads.map(({ place }) => (place < 0 ? new Map() : ranksAmong(rows, place)));
      return {
        heading: headingOf(rows[0], true),
        note: firstEverywhere(rows, ranks),
        rows,
        cells: (row) => reader.heads.map((head, i) => drawRanked(rankedCell(head, row, ranks[i]))),
      };
    };
    const rows = peerRows(state);
    const more = drawGroups(reader.table, groupsOf(rows, true), describe);
    tellMore(document.getElementById("more"), more);
    tellShown(formatCount(rows.length, "row"));
  });
}

function startReader() {
  reader.form = document.getElementById("peers");
  if (!reader.form) return;
  reader.table = document.getElementById("readings");
  reader.heads = headsOf(reader.table);
  bindForm(reader.form, { defaults: { hardware: "", workload: "", model: "" }, draw: drawReadings });
}

startReader();
