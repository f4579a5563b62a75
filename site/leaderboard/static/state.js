// The state of a page lives in the fragment of its address (#sort=tpot_s&workload=chat), which
// works from the file system and on any host. It is empty while all is as the page begins.
"use strict";

const MOST_UNMET = 8;
const MOST_QUOTED = 120;

function readState() {
  const text = location.hash.slice(1);
  return text.includes("=") ? Object.fromEntries(new URLSearchParams(text)) : {};
}

// What a reader does is theirs, and no longer what a link asked for.
function writeState(state) {
  tellUnmet([]);
  const pairs = Object.entries(state).filter(([, value]) => value !== "");
  const text = new URLSearchParams(pairs).toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

// Writes the state whole once any of it is not the page's default: defaults move with the records, and
// a link that was shared is to open the same view then too.
function shareState(state, defaults) {
  const chosen = Object.entries(state).some(([name, value]) => value !== (defaults[name] ?? ""));
  writeState(chosen ? state : {});
}

// Calls back when a link or the reader changes the state, not when an anchor on the page is used.
function onState(callback) {
  addEventListener("hashchange", () => {
    if (location.hash === "" || location.hash.includes("=")) callback(readState());
  });
}

// Puts what a state asks for into the controls of a form, and their defaults where it asks for nothing.
// Returns what it asks for in vain, in sentences: the defaults stand there too. `put` turns a text into
// that of a number field, or null; `others` are the names in the address that no control has.
function restoreControls(form, state, { defaults = {}, put = null, others = [] } = {}) {
  const controls = [...form.elements].filter((control) => control.name);
  const known = new Set([...controls.map((control) => control.name), ...others]);
  const unmet = controls.flatMap((control) => {
    const initial = defaults[control.name] ?? "";
    const asked = state[control.name] || initial;
    const why = setControl(control, asked, put);
    if (!why) return [];
    setControl(control, initial, put);
    return [unmetText(`${nameOfControl(control)} ${quoted(asked)}`, why, shownText(control))];
  });
  const unknown = Object.entries(state).filter(([name]) => !known.has(name));
  return [...unmet, ...unknown.map(([name, value]) =>
    unmetText(quoted(`${name}=${value}`), "which this page does not know", "it is left out"))];
}

// Puts a value into a control; returns why it cannot, or nothing.
function setControl(control, value, put) {
  if (control.type === "checkbox") {
    if (value !== "1" && value !== uncheckedValue(control)) return "which is neither on nor off";
    control.checked = value === "1";
  } else if (control.tagName === "SELECT") {
    const meant = optionsMeant([...control.options], value);
    if (meant.length > 1) return `which may be ${meant.map((option) => quoted(option.text)).join(" or ")}`;
    if (!meant.length) return "which is not on this board";
    control.value = meant[0].value;
  } else {
    const text = control.type === "number" ? put(control, value) : value;
    if (text === null) return "which is no number for it";
    control.value = text;
  }
  return "";
}

// The options that a value means: its own, or that with this text, or those whose values begin with the
// same name and hold all else that it says, as links of boards with fewer variants say less.
function optionsMeant(options, value) {
  const own = options.filter((option) => option.value === value);
  if (own.length) return own.slice(0, 1);
  const named = options.filter((option) => option.text === value);
  return named.length ? named : options.filter((option) => saysAll(option.value, value));
}

function saysAll(value, said) {
  const parts = (text) => text.split(/ \u00b7 |, | \(|\)/).filter(Boolean);
  const [all, asked] = [parts(value), parts(said)];
  let at = -1;
  return asked.length > 0 && asked[0] === all[0]
    && asked.every((part) => (at = all.indexOf(part, at + 1)) >= 0);
}

function unmetText(what, why, instead) {
  return `This link asks for ${what}, ${why}: ${instead}.`;
}

// Says what a link asks for in vain; a reader who goes on does not see it again.
function tellUnmet(sentences) {
  const place = document.getElementById("asked");
  if (!place) return;
  const told = sentences.slice(0, MOST_UNMET);
  if (sentences.length > told.length) told.push(`And ${sentences.length - told.length} more like this.`);
  place.replaceChildren(...told.map((text) => make("p", {}, text)));
}

function quoted(text) {
  const short = text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}\u2026` : text;
  return `\u201c${short}\u201d`;
}

// What a control is called within a sentence.
function nameOfControl(control) {
  const texts = [...control.labels[0].childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
  const name = texts.map((node) => node.textContent).join("").trim();
  return name.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase());
}

// What a control shows, as the end of a sentence.
function shownText(control) {
  if (control.type === "checkbox") return `it is ${control.checked ? "on" : "off"}`;
  const text = control.tagName === "SELECT" ? control.selectedOptions[0]?.text : control.value;
  return text ? `${quoted(text)} is shown` : "nothing is set";
}

function controlValue(control) {
  if (control.type !== "checkbox") return control.value;
  return control.checked ? "1" : uncheckedValue(control);
}

// A box that is checked by default needs a value that says it is not: an empty one is left out.
function uncheckedValue(control) {
  return control.dataset.off ?? "";
}

// Follows a link within the page without taking the state out of the address.
addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey;
  if (!link || !plain || link.hash.includes("=") || !location.hash.includes("=")) return;
  const target = document.getElementById(link.hash.slice(1));
  if (!target) return;
  event.preventDefault();
  if (!target.hasAttribute("tabindex")) target.tabIndex = -1;
  target.focus();
  target.scrollIntoView();
});
