// Axes: limits with a little room, and marks at round values. The same rules as charts.py.
"use strict";

const AXES = {
  margin: 0.06, wide: 5, fewDecades: 100, mostDecades: 12, mostPlaces: 3, mostDigits: 9,
  least: 1e-99, most: 1e120, leastShare: 1e-9,
};

// A value, or the limit beyond which it lies.
function heldValue(value, least = -AXES.most) {
  return Math.min(Math.max(value, least), AXES.most);
}

// Whether two values are drawn as two.
function toldApart(low, high) {
  return high - low >= Math.max(AXES.least, AXES.leastShare * Math.max(Math.abs(low), Math.abs(high)));
}

// The room on either side of a value that stands alone.
function halfOf(value) {
  return Math.abs(value) >= AXES.least ? Math.abs(value) / 2 : 0.5;
}

// Limits around the values, never equal.
function axisBounds(values) {
  const known = values.map((value) => heldValue(value));
  let [low, high] = [Math.min(...known), Math.max(...known)];
  if (!toldApart(low, high)) [low, high] = [low - halfOf(low), high + halfOf(high)];
  const room = (high - low) * AXES.margin;
  return [low >= 0 ? Math.max(low - room, 0) : low - room, high + room];
}

// Limits around values above 0, on a logarithmic axis.
function logBounds(values) {
  const known = values.map((value) => heldValue(value, AXES.least));
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const room = toldApart(low, high) ? (high / low) ** AXES.margin : 2;
  return [low / room, high * room];
}

// An axis from the pixel `start` to `end`: { title, low, high, at, ticks }, where `at` gives the pixel
// of a value, and ticks are values with their texts.
function makeAxis(title, values, log, start, end, count = 6) {
  const [low, high] = log ? logBounds(values) : axisBounds(values);
  const share = log
    ? (value) => Math.log(heldValue(value, AXES.least) / low) / Math.log(high / low)
    : (value) => (heldValue(value) - low) / (high - low);
  const at = (value) => start + share(value) * (end - start);
  return { title, low, high, at, ticks: log ? logTicks(low, high, count) : linearTicks(low, high, count) };
}

// A multiple of a power of ten; read, as powers are computed by each language in its way.
function powerOfTen(factor, exponent) {
  return Number(`${factor}e${exponent}`);
}

function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const exponent = Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => powerOfTen(m, exponent)).find((s) => s >= rough * (1 - 1e-9));
  const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i += 1) {
    ticks.push([i * step, formatNumber(i * step, places)]);
  }
  return ticks;
}

// Powers of ten, over few decades 2 and 5 times them too; over less, round steps instead.
function logTicks(low, high, count) {
  if (high / low < AXES.wide) return linearTicks(low, high, count);
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.ceil((last - first) / AXES.mostDecades);
  const steps = high / low > AXES.fewDecades ? [1] : [1, 2, 5];
  const ticks = [];
  for (let e = first; e <= last; e += every) {
    for (const m of steps) {
      const value = powerOfTen(m, e);
      if (value >= low && value <= high) ticks.push([value, powerText(m, e)]);
    }
  }
  return ticks;
}

// A multiple of a power of ten in as little room as an axis has beside its title.
function powerText(factor, exponent) {
  if (exponent < -AXES.mostPlaces) return `${factor}e${MINUS}${-exponent}`;
  if (exponent > AXES.mostDigits) return `${factor}e${exponent}`;
  return formatNumber(powerOfTen(factor, exponent), Math.max(0, -exponent));
}
