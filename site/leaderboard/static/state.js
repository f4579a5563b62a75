// The state of a page lives in the fragment of its address (#sort=tpot_s&workload=chat), which
// works from the file system and on any host. It is empty while all is as the page begins.
"use strict";

function readState() {
  const text = location.hash.slice(1);
  return text.includes("=") ? Object.fromEntries(new URLSearchParams(text)) : {};
}

function writeState(state) {
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

// Puts a value into a control. What it does not offer makes it go to its default.
function setControl(control, value, initial = "") {
  if (control.type === "checkbox") {
    const offered = value === "1" || value === uncheckedValue(control);
    control.checked = (offered ? value : initial) === "1";
  } else if (control.tagName === "SELECT") {
    const offered = [...control.options].some((option) => option.value === value);
    control.value = offered ? value : initial;
  } else {
    control.value = value;
  }
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
