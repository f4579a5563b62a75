// Numbers for people: the same rules as format.py, which draws the page without JavaScript.
"use strict";

const MINUS = "\u2212";
const DASH = "\u2014";
const SVG_NAMES = new Set(["svg", "rect", "g", "line", "text", "circle", "polyline", "polygon", "title"]);

// How many decimals show at least three significant digits.
function decimals(value) {
  let digits = 0;
  let threshold = 100;
  while (Math.abs(value) < threshold && digits < 8) {
    digits += 1;
    threshold /= 10;
  }
  return value !== 0 ? digits : 0;
}

// A number without a sign; toFixed writes the largest with an exponent.
function fixedDigits(size, places) {
  if (size < 1e21) return size.toFixed(places);
  return `${BigInt(size)}${places ? `.${"0".repeat(places)}` : ""}`;
}

function formatNumber(value, places = decimals(value)) {
  const [whole, part] = fixedDigits(Math.abs(value), places).split(".");
  const grouped = whole.length > 3 ? whole.replace(/\B(?=(\d{3})+$)/g, ",") : whole;
  const text = part === undefined ? grouped : `${grouped}.${part}`;
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

function formatSpan(low, high, factor) {
  const from = low * factor;
  const to = high * factor;
  let places = decimals(Math.max(Math.abs(from), Math.abs(to)));
  if (to > from) places = Math.max(places, decimals(to - from) - 2);
  return `${formatNumber(from, places)} \u2013 ${formatNumber(to, places)}`;
}

// A change, given as a share, as a percentage with its sign and one decimal.
function formatPercent(change) {
  const text = `${formatNumber(change * 100, 1)} %`;
  return change < 0 ? text : `+${text}`;
}

// A count with its noun: "1 run", "1,200 runs", "8 launches".
function formatCount(count, noun) {
  const ending = count === 1 ? "" : noun.endsWith("ch") ? "es" : "s";
  return `${formatNumber(count, 0)} ${noun}${ending}`;
}

// An element with attributes and children. Texts become text nodes, so they stay inert.
function make(name, attributes = {}, ...children) {
  const svg = SVG_NAMES.has(name);
  const element = svg
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function svgLink(attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", "a");
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
