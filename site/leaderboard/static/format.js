// Numbers for people: the same rules as format.py, which draws the page without JavaScript.
"use strict";

const MINUS = "\u2212";
const DASH = "\u2014";

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

function formatNumber(value, places = decimals(value)) {
  const [whole, part] = Math.abs(value).toFixed(places).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
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

// An element with attributes and children. Texts become text nodes, so they stay inert.
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "rect", "g", "line", "text", "circle", "polyline", "title"].includes(name);
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

// The text of one row in a column of repeated texts.
function textOf(column, row) {
  return column.texts[column.rows[row]];
}
