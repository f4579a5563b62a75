// The controls of a page with a picture: their state is in the address, and the picture follows them.
"use strict";

const explorer = { form: null, defaults: {}, draw: null, width: 0 };

function currentState() {
  const controls = [...explorer.form.elements].filter((control) => control.name);
  return Object.fromEntries(controls.map((control) => [control.name, controlValue(control)]));
}

function restoreExplorer(state) {
  tellUnmet(restoreControls(explorer.form, state, { defaults: explorer.defaults }));
  return explorer.draw(currentState());
}

// A phone's window changes its height when its bars come and go: that must not take the focus away.
function redrawIfWider() {
  const width = document.getElementById("plot").clientWidth;
  if (width === explorer.width) return;
  explorer.width = width;
  void explorer.draw(currentState());
}

// The defaults of the controls are the figure's data; `draw` gets the state whenever it changes.
function startExplorer(draw) {
  explorer.form = document.getElementById("axes");
  if (!explorer.form) return;
  explorer.draw = draw;
  explorer.defaults = { ...document.getElementById("figure").dataset };
  explorer.form.hidden = false;
  explorer.form.addEventListener("input", () => {
    const state = currentState();
    shareState(state, explorer.defaults);
    void draw(state);
  });
  explorer.form.addEventListener("submit", (event) => event.preventDefault());
  explorer.form.addEventListener("reset", (event) => {
    event.preventDefault();
    writeState({});
    void restoreExplorer({});
  });
  onState(restoreExplorer);
  explorer.width = document.getElementById("plot").clientWidth;
  addEventListener("resize", redrawIfWider);
  void restoreExplorer(readState());
}
