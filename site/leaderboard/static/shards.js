// The data of single runs, in shards: data/runs/<xx>.js holds the runs whose place (machine, cell and
// run) has a SHA-256 that starts with these two hex digits. See shards.py.
"use strict";

const LEANBOARD_RUNS = Object.create(null);
const PLACE = /[A-Za-z0-9][\w.+-]*\/[0-9a-f]{16}\/\d{8}T\d{6}Z-[0-9a-f]{8}/;
const shardsArriving = new Map();

// Whether a text is the place of a run: nothing else is ever asked for.
function isPlace(text) {
  return PLACE.exec(text)?.[0] === text;
}

// The place of the run on a row of the board, from the address of its page.
function placeOf(row) {
  return PLACE.exec(decodeURIComponent(LEANBOARD.href[row]))[0];
}

// Loads the runs at these places; gives the places of those that the site has.
async function loadRuns(places) {
  const names = new Set(places.map((place) => sha256(place).slice(0, 2)));
  await Promise.all([...names].map(loadShard));
  return places.filter((place) => LEANBOARD_RUNS[place] !== undefined);
}

// A shard that is not there holds no run; it is asked for again the next time.
function loadShard(name) {
  if (!shardsArriving.has(name)) {
    const script = loadScript(`data/runs/${name}.js`).catch(() => shardsArriving.delete(name));
    shardsArriving.set(name, script);
  }
  return shardsArriving.get(name);
}
