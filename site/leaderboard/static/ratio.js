// One run against the first on one metric: what a record itself says of these two, paired, where one
// does; else the ratio of both values, measured apart, as metrics/unpaired.py makes it.
"use strict";

const OTHER_WAY = { better: "worse", worse: "better" };

// { statistic, value, low, high, verdict, paired, doubts, title }, or { reason } where nothing is made
// of the two. `low` and `high` are undefined without an interval, `high` alone where it has no upper end.
function contrastOf(name, run, first) {
  const one = run.named.get(name);
  const other = first.named.get(name);
  if (one?.value === undefined || other?.value === undefined) return { reason: "" };
  const recorded = recordedOf(one, run, other, first);
  if (recorded) return { ...recorded, paired: true };
  const reason = whyNoRatio(one, other);
  return reason ? { reason } : unpairedOf(one, run, other, first);
}

// A record's own comparison of the two; turned round where it is the first run's with this one.
function recordedOf(one, run, other, first) {
  if (one.against && first.runs.includes(one.against.baseline)) return one.against;
  return other.against && run.runs.includes(other.against.baseline) ? turnedRound(other.against) : null;
}

// A ratio whose interval begins at 0 has no upper end when it is turned.
function turnedRound(found) {
  const turn = found.statistic === "ratio" ? (value) => 1 / value : (value) => -value;
  const high = turn(found.low);
  const ends = found.low === undefined ? {} : {
    low: turn(found.high), high: Number.isFinite(high) ? high : undefined,
  };
  const verdict = OTHER_WAY[found.verdict] ?? found.verdict;
  return { ...found, value: turn(found.value), ...ends, verdict };
}

// Why no ratio is made of two values that no record compares; empty where one may be.
function whyNoRatio(one, other) {
  if (one.barred || other.barred) return one.barred || other.barred;
  if (one.unit !== other.unit) return "the units differ";
  return one.value > 0 && other.value > 0 ? "" : "a ratio needs values above 0";
}

function unpairedOf(one, run, other, first) {
  const interval = unpairedInterval(boundsOf(one), boundsOf(other));
  const value = one.value / other.value;
  const verdict = !one.direction ? "" : interval ? verdictOf(interval, one.direction) : "undecided";
  const judged = verdict !== "" && verdict !== "undecided";
  const doubts = judged ? doubtsAbout(one, run, other, first) : [];
  return { statistic: "ratio", value, ...interval, verdict, paired: false, doubts };
}

// A value with its interval; what was counted is exact. Without an interval the ends are undefined.
function boundsOf({ value, low, high, provenance }) {
  if (low !== undefined) return { value, low, high };
  return provenance === "counted" ? { value, low: value, high: value } : { value };
}

// The interval of a ratio of values that were measured apart; null where there is none.
function unpairedInterval(one, other) {
  const holds = ({ value, low, high }) => low > 0 && low <= value && value <= high;
  if (!holds(one) || !holds(other)) return null;
  const below = Math.hypot(Math.log(one.value / one.low), Math.log(other.high / other.value));
  const above = Math.hypot(Math.log(one.high / one.value), Math.log(other.value / other.low));
  const ratio = one.value / other.value;
  return { low: ratio * Math.exp(-below), high: ratio * Math.exp(above) };
}

function verdictOf({ low, high }, direction) {
  if (low <= 1 && high >= 1) return "no difference shown";
  return (high < 1) === (direction === "lower") ? "better" : "worse";
}

// Why a verdict on values that were measured apart is in doubt. What was counted is beyond doubt.
function doubtsAbout(one, run, other, first) {
  if (one.provenance === "counted" && other.provenance === "counted") return [];
  const doubts = [run, first].filter((each) => each.unstable).map((each) => `run ${each.letter} is unstable`);
  for (const part of ["hardware", "workload"]) {
    if (run.alike[part] !== first.alike[part]) doubts.push(`the ${part} is another one`);
  }
  if (one.oneProcess || other.oneProcess) {
    doubts.push("one process: what differs between processes is not in the interval");
  }
  return doubts;
}

// What besides a technique differs between a run and the first, for a reader to know.
function notesOn(run, first) {
  const words = {
    hardware: "other hardware",
    workload: "other work",
    model: "another model",
    engine: "another engine: engine and technique are compared together",
  };
  return Object.entries(words)
    .filter(([part]) => run.alike[part] !== first.alike[part])
    .map(([part, told]) => {
      const both = `${run.alike[part]} against ${first.alike[part]}`;
      return `${run.letter} against ${first.letter}: ${told} (${both})`;
    });
}
