// What the explorers share: elements, steppers, presets, one redraw per frame.

const SVG = "http://www.w3.org/2000/svg";

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  return node;
}

/** An HTML element with attributes, `on...` listeners and children. */
function h(tag, attributes = {}, ...children) {
  const node = set(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

/** An SVG element. */
function s(tag, attributes = {}, ...children) {
  const node = set(document.createElementNS(SVG, tag), attributes);
  node.append(...children);
  return node;
}

/** Markup-safe text. */
function safe(text) {
  return String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

function clamp(value, low, high) {
  return Math.max(low, Math.min(high, value));
}

/** A true minus sign. */
function signed(value) {
  return String(value).replace("-", "−");
}

function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** Ask for a redraw: at most one per frame, however many traits have changed. */
function perFrame(draw) {
  let asked = 0;
  const ask = () => {
    if (!asked) asked = requestAnimationFrame(() => { asked = 0; draw(); });
  };
  ask.cancel = () => cancelAnimationFrame(asked);
  return ask;
}

/** Call `then` when one of the traits changes; returns the function that stops it. */
function listen(model, names, then) {
  for (const name of names) model.on(`change:${name}`, then);
  return () => { for (const name of names) model.off(`change:${name}`, then); };
}

/** Set traits of the model, here and in the kernel where there is one. */
function commit(model, traits) {
  for (const [name, value] of Object.entries(traits)) model.set(name, value);
  model.save_changes();
}

// JupyterLab takes arrow keys for itself unless the element that has the focus says otherwise.
const KEYS = { "data-lm-suppress-shortcuts": "true" };

/** A whole number between − and +: type, click, or press the arrow keys. */
function stepper({ label, min, max, change }) {
  const input = h("input", {
    type: "number", min, max, step: 1, "aria-label": label, title: `${label}: ${min} to ${max}`, ...KEYS,
    oninput: () => {
      const value = parseInt(input.value, 10);
      if (Number.isFinite(value)) change(clamp(value, min, max));
    },
    onblur: () => { input.value = node.value; },
  });
  const button = (sign, step) => h("button", {
    type: "button", tabindex: -1, "aria-hidden": "true",
    onclick: () => change(clamp(node.value + step, min, max)),
  }, sign);
  const [less, more] = [button("−", -1), button("+", 1)];
  const node = {
    root: h("span", { class: "dl-stepper" }, less, input, more),
    value: min,
    show(value) {
      node.value = value;
      less.disabled = value <= min;
      more.disabled = value >= max;
      if (input.value !== String(value)) input.value = value;
    },
  };
  return node;
}

/** A row of buttons that set the whole state. `isOn(preset)` tells which one is in force. */
function presetBar(presets, isOn, choose) {
  const buttons = presets.map((preset) => h("button", {
    type: "button", class: "dl-pill", onclick: () => choose(preset), ...KEYS,
  }, preset.name));
  const root = h("div", { class: "dl-presets", role: "group", "aria-label": "presets" }, ...buttons);
  const show = () => buttons.forEach((b, i) => b.setAttribute("aria-pressed", isOn(presets[i])));
  return { root, show };
}

/** Large figures with their names under them: [[value, name, class], ...]. */
function figures(rows) {
  return rows.map(([value, name, kind]) =>
    `<div class="dl-figure ${kind || ""}"><b>${safe(value)}</b><span>${safe(name)}</span></div>`).join("");
}
