import { h, s, clamp, listen, perFrame } from "./common.js";

/** The shape moved by (dx, dy), kept on the canvas. */
export function moved(shape, dx, dy, size) {
  return { ...shape, x: clamp(shape.x + dx, 0, size), y: clamp(shape.y + dy, 0, size) };
}

/** The shape whose handle is pulled to (x, y): the handle stands a radius above the centre. */
export function pulled(shape, x, y, [low, high]) {
  const [dx, dy] = [x - shape.x, y - shape.y];
  const angle = Math.round((Math.atan2(dx, -dy) * 180) / Math.PI);
  return { ...shape, radius: clamp(Math.round(Math.hypot(dx, dy) * 2) / 2, low, high), angle };
}

/** Where the handle of a shape stands. */
export function handle({ x, y, radius, angle }) {
  const turn = (angle * Math.PI) / 180;
  return [x + radius * Math.sin(turn), y - radius * Math.cos(turn)];
}

/** The shapes with the one at `from` in front of all others. */
export function toFront(shapes, from) {
  return [...shapes.filter((_, i) => i !== from), shapes[from]];
}

/** What a key does to a shape, or null. Shift makes large steps. */
export function keyed(shape, key, shift, size, [low, high]) {
  const step = shift ? 8 : 1;
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (ways[key]) return moved(shape, step * ways[key][0], step * ways[key][1], size);
  if (key === "+" || key === "=") return { ...shape, radius: clamp(shape.radius + 1, low, high) };
  if (key === "-") return { ...shape, radius: clamp(shape.radius - 1, low, high) };
  if (key === "[" || key === "]") return { ...shape, angle: shape.angle + (key === "]" ? 5 : -5) };
  return null;
}

/** A degree as the slider shows it: -180 to 180. */
export function turned(angle) {
  return ((((Math.round(angle) + 180) % 360) + 360) % 360) - 180;
}

const COLORS = ["#d98c3a", "#3f7fbf", "#c9d44f", "#b04a6f", "#4fae8f", "#8f6fd0", "#d0d0d0", "#404850"];

function render({ model, el }) {
  const { kinds, patterns, radius: reach, most, paths } = model.get("lists");
  const size = model.get("size"), unit = size / 129; // marks are as large on larger scenes
  const root = h("div", { class: "dl dl-sc", role: "group", "aria-label": "Scene to draw" });
  const picture = s("image", { x: 0, y: 0, width: size, height: size, preserveAspectRatio: "none" });
  const layer = s("g"), knob = s("g", { class: "knob" });
  const board = s("svg", {
    viewBox: `0 0 ${size} ${size}`, class: "dl-sc-board", role: "application", style: `--unit: ${unit}`,
    "aria-label": "Scene: drag shapes, Tab and arrow keys move them",
  }, picture, layer, knob);

  const shapes = () => model.get("shapes"), chosen = () => model.get("selected");
  const save = (values) => {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    model.save_changes();
  };
  const change = (made) => {
    const at = chosen();
    if (at >= 0 && shapes()[at]) save({ shapes: shapes().map((shape, i) => (i === at ? made(shape) : shape)) });
  };

  // ---- Controls
  const select = (label, values, then) => {
    const node = h("select", { class: "dl-select", "aria-label": label, onchange: () => then(node.value) });
    node.append(...values.map((value) => h("option", { value }, value)));
    return node;
  };
  const color = (label, then) => {
    const node = h("input", { type: "color", "aria-label": label, oninput: () => then(node.value) });
    return node;
  };
  const range = (label, low, high, then) => {
    const node = h("input", {
      type: "range", min: low, max: high, step: 1, "aria-label": label, "data-lm-suppress-shortcuts": "true",
      oninput: () => then(Number(node.value)),
    });
    return node;
  };
  const button = (text, then) => h("button", { class: "dl-pill", type: "button", onclick: then }, text);

  const kind = select("class of the shape", kinds, (value) => change((shape) => ({ ...shape, kind: value })));
  const pattern = select("pattern of the shape", patterns, (value) => change((shape) => ({ ...shape, pattern: value })));
  const paint = color("colour of the shape", (value) => change((shape) => ({ ...shape, color: value })));
  const radius = range("radius", ...reach, (value) => change((shape) => ({ ...shape, radius: value })));
  const angle = range("angle", -180, 180, (value) => change((shape) => ({ ...shape, angle: value })));
  const backgroundPattern = select("pattern of the background", patterns, (value) => save({ background: { ...model.get("background"), pattern: value } }));
  const backgroundColor = color("colour of the background", (value) => save({ background: { ...model.get("background"), color: value } }));

  const add = button("Add a shape", () => {
    const count = shapes().length;
    if (count >= most) return;
    const made = {
      kind: kinds[count % kinds.length], x: size * (0.3 + 0.4 * ((count * 0.618) % 1)),
      y: size * (0.3 + 0.4 * ((count * 0.382) % 1)), radius: Math.round(18 * unit), angle: 0,
      color: COLORS[count % COLORS.length], pattern: patterns[count % patterns.length],
    };
    save({ shapes: [...shapes(), made], selected: count });
  });
  const remove = button("Remove", () => {
    const at = chosen();
    if (at < 0) return;
    const left = shapes().filter((_, i) => i !== at);
    save({ shapes: left, selected: left.length - 1 });
  });
  const front = button("To the front", () => {
    const at = chosen();
    if (at >= 0) save({ shapes: toFront(shapes(), at), selected: shapes().length - 1 });
  });
  const row = (name, ...nodes) => h("div", { class: "dl-sc-row" }, h("span", {}, name), ...nodes);
  const own = h("div", { class: "dl-sc-own" },
    row("shape", kind, pattern, paint), row("radius", radius), row("angle", angle), row("", front, remove));
  const hint = h("p", { class: "dl-hint" },
    "Drag a shape; its round handle resizes and turns it. Keys: arrows, + and −, [ and ], Delete; Shift for large steps.");
  const side = h("div", { class: "dl-sc-side" }, row("", add), own, row("background", backgroundPattern, backgroundColor), hint);
  root.append(h("div", { class: "dl-sc-stage" }, board, side));
  el.append(root);

  // ---- Pointer and keys
  let held = null, sent = null;
  const at = (event) => {
    const box = board.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * size, ((event.clientY - box.top) / box.height) * size];
  };
  const hold = (event, index, knobHeld) => {
    event.preventDefault();
    const [x, y] = at(event), shape = shapes()[index];
    held = { index, knobHeld, dx: shape.x - x, dy: shape.y - y };
    board.setPointerCapture?.(event.pointerId);
    if (chosen() !== index) save({ selected: index });
  };
  const still = (event) => { if (event.target !== board) event.preventDefault(); }; // no scrolling
  board.addEventListener("touchstart", still, { passive: false }); // touch-action misses some shapes
  board.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [x, y] = at(event);
    sent = () => change((shape) => held === null || held.knobHeld
      ? pulled(shape, x, y, reach) : { ...shape, ...moved({ ...shape, x: x + held.dx, y: y + held.dy }, 0, 0, size) });
    flush();
  });
  const flush = perFrame(() => { if (sent && held) sent(); sent = null; });
  const release = () => { if (sent && held) sent(); sent = null; held = null; root.classList.remove("held"); };
  board.addEventListener("pointerup", release);
  board.addEventListener("pointercancel", release);
  board.addEventListener("keydown", (event) => {
    const index = chosen(), shape = shapes()[index];
    if (!shape) return;
    if (event.key === "Delete" || event.key === "Backspace") remove.click();
    else {
      const made = keyed(shape, event.key, event.shiftKey, size, reach);
      if (!made) return;
      change(() => made);
    }
    event.preventDefault();
    event.stopPropagation();
  });

  // ---- Drawing
  let nodes = [];
  const draw = perFrame(() => {
    const list = shapes(), index = chosen();
    picture.setAttribute("href", model.get("drawn"));
    while (nodes.length > list.length) nodes.pop().remove();
    while (nodes.length < list.length) {
      const place = nodes.length, node = s("path", { tabindex: 0, role: "button", "vector-effect": "non-scaling-stroke", "fill-rule": "evenodd" });
      node.addEventListener("pointerdown", (event) => { node.focus(); hold(event, place, false); });
      node.addEventListener("focus", () => { if (chosen() !== place) save({ selected: place }); });
      layer.append(node);
      nodes.push(node);
    }
    list.forEach((shape, i) => {
      nodes[i].setAttribute("d", paths[shape.kind]);
      nodes[i].setAttribute("transform", `translate(${shape.x} ${shape.y}) rotate(${shape.angle}) scale(${shape.radius})`);
      nodes[i].setAttribute("class", i === index ? "chosen" : "");
      nodes[i].setAttribute("aria-pressed", i === index);
      nodes[i].setAttribute("aria-label", `${shape.kind} at ${Math.round(shape.x)}, ${Math.round(shape.y)}, radius ${Math.round(shape.radius)}`);
    });
    const shape = list[index];
    knob.replaceChildren();
    own.classList.toggle("off", !shape);
    for (const control of [kind, pattern, paint, radius, angle, front, remove]) control.disabled = !shape;
    add.disabled = list.length >= most;
    const { color: under, pattern: kindOfBackground } = model.get("background");
    [backgroundColor.value, backgroundPattern.value] = [under, kindOfBackground];
    if (!shape) return;
    const [x, y] = handle(shape);
    const grip = s("circle", { cx: clamp(x, 2, size - 2), cy: clamp(y, 2, size - 2), r: 3 * unit });
    grip.addEventListener("pointerdown", (event) => hold(event, index, true));
    knob.append(s("line", { x1: shape.x, y1: shape.y, x2: x, y2: y }), grip);
    [kind.value, pattern.value, paint.value] = [shape.kind, shape.pattern, shape.color];
    [radius.value, angle.value] = [shape.radius, turned(shape.angle)];
    radius.setAttribute("aria-valuetext", `${shape.radius} pixels`);
    angle.setAttribute("aria-valuetext", `${turned(shape.angle)} degrees`);
  });
  const stop = listen(model, ["shapes", "background", "selected", "drawn"], draw);
  draw();
  return () => { stop(); draw.cancel(); flush.cancel(); };
}

export default { render };
