// Forms whose state is in the address: number fields with sliders beside them, and lists.
"use strict";

// Ties a form to the address. `defaults` has the initial text of every control; `put` and `take` turn
// a number field's text in the address into its value (null for none), and back; `draw` is given the
// whole state.
function bindForm(form, { defaults, put, take, draw }) {
  const controls = [...form.elements].filter((control) => control.name);
  const read = () => Object.fromEntries(controls.map((control) =>
    [control.name, control.type === "number" ? take(control) : controlValue(control)]));
  const restore = (state) => {
    tellUnmet(restoreControls(form, state, { defaults, put }));
    return draw(read());
  };
  form.hidden = false;
  form.addEventListener("input", (event) => {
    if (event.target.type === "range") followSlider(event.target);
    const state = read();
    shareState(state, defaults);
    void draw(state);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    writeState({});
    void restore({});
  });
  onState(restore);
  void restore(readState());
}

// Whether a text is a number between two limits; the empty text is none.
function isNumber(text, low = -Infinity, high = Infinity) {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) && low <= value && value <= high;
}

// Puts the place of a slider into its field, to a tenth of a step. At the end where nothing is limited
// (`data-open`) the field is emptied.
function followSlider(slider) {
  const { of, open } = slider.dataset;
  const [value, step] = [Number(slider.value), Number(slider.step)];
  const places = Math.min(20, Math.max(0, 1 - Math.floor(Math.log10(step))));
  const limits = open === undefined || Math.abs(value - Number(open)) > step / 2;
  slider.form.elements.namedItem(of).value = limits ? String(Number(value.toFixed(places))) : "";
}
