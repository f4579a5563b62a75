// The body of the leaderboard in two steps: as many rows as a window can show for the next frame, the rest
// of the page right after it. Laying out all of them takes longer than a reader should wait.
"use strict";

// No row is less high, in pixels.
const LEAST_ROW = 48;

// Gives a function that puts rows into the table; a later call overtakes an earlier one. The table is busy
// until the last row is there; paper gets all of them at once. Columns are at least as wide as given until
// then, so that they do not move twice.
function fillsInSteps(table) {
  const body = table.tBodies[0];
  let drawRest = null;
  const finish = () => {
    drawRest?.();
    drawRest = null;
    holdWidths(table, []);
    table.removeAttribute("aria-busy");
  };
  addEventListener("beforeprint", finish);
  return (rows, drawRow, widths) => {
    const fit = Math.ceil(innerHeight / LEAST_ROW);
    body.replaceChildren(...rows.slice(0, fit).map(drawRow));
    const mine = rows.length > fit ? () => body.append(...rows.slice(fit).map(drawRow)) : null;
    drawRest = mine;
    if (!mine) return finish();
    holdWidths(table, widths);
    table.setAttribute("aria-busy", "true");
    return afterFrame(() => drawRest === mine && finish());
  };
}

function afterFrame(act) {
  requestAnimationFrame(() => setTimeout(act));
}

function columnWidths(table) {
  return [...table.tHead.rows[0].cells].map((cell) => cell.getBoundingClientRect().width);
}

// Keeps columns at least so wide. Without widths, or with those of other columns, content decides.
function holdWidths(table, widths) {
  const { cells } = table.tHead.rows[0];
  const same = widths.length === cells.length;
  [...cells].forEach((cell, place) => { cell.style.minWidth = same ? `${widths[place]}px` : ""; });
}
