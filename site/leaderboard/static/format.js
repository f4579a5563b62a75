// Numbers for people: the same rules as format.py, which draws the page without JavaScript.
"use strict";

const MINUS = "\u2212";
const DASH = "\u2014";
const MOST_DECIMALS = 8;
const SVG_NAMES = new Set(["svg", "rect", "g", "line", "text", "circle", "polyline", "polygon", "title"]);

// How many decimals show at least three significant digits.
function decimals(value) {
  let digits = 0;
  let threshold = 100;
  while (Math.abs(value) < threshold && digits < MOST_DECIMALS) {
    digits += 1;
    threshold /= 10;
  }
  return value !== 0 ? digits : 0;
}

// The decimals of a ratio: `least`, or as many as tell what is shown from 1. `ends` are those of its
// interval, of which the upper one may be missing; one that holds 1 needs no more decimals.
function ratioPlaces(least, ends, ...shown) {
  if (ends.length && ends[0] <= 1 && !(ends[1] < 1)) return least;
  const nearest = Math.min(...shown.filter((value) => value !== 1).map((value) => Math.abs(value - 1)));
  let places = least;
  while (nearest < 0.5 / 10 ** places && places < MOST_DECIMALS) places += 1;
  return places;
}

// A ratio and the ends of its interval, as texts.
function ratioTexts(value, ends) {
  const places = ratioPlaces(3, ends, value, ...ends);
  return [value, ...ends].map((each) => formatNumber(each, places));
}

// A number without a sign; toFixed writes the largest with an exponent.
function fixedDigits(size, places) {
  if (size < 1e21) return size.toFixed(places);
  return `${BigInt(size)}${places ? `.${"0".repeat(places)}` : ""}`;
}

// What is no finite number is a dash.
function formatNumber(value, places = decimals(value)) {
  if (!Number.isFinite(value)) return DASH;
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

// A change, given as a share, as a percentage with its sign.
function formatPercent(change, places = 1) {
  const text = `${formatNumber(change * 100, places)} %`;
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
