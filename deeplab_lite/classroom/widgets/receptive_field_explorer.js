import { h, s, safe, clamp, signed, plural, perFrame, listen, commit, KEYS, stepper, presetBar, figures } from "./common.js";

// ---- the numbers: the same as taps.trace in Python, which the tests compare --------------------

/** Zeros put before and after a map: "same" gives an odd one too many to the right, as PyTorch. */
export function pads({ kernel, dilation, padding }) {
  const reach = dilation * (kernel - 1);
  if (padding === "same") return [Math.floor(reach / 2), reach - Math.floor(reach / 2)];
  return [padding, padding];
}

/** Receptive field of every level, the input first: size, stride, padding (lesson 01). */
export function chain(layers) {
  const fields = [[1, 1, 0]];
  for (const layer of layers) {
    const [size, stride, padding] = fields.at(-1);
    const reach = layer.dilation * (layer.kernel - 1);
    fields.push([size + reach * stride, stride * layer.stride, padding + pads(layer)[0] * stride]);
  }
  return fields;
}

/** Units on every map; 0 from where a kernel no longer fits. */
export function sizes(layers, n) {
  const out = [n];
  for (const layer of layers) {
    const [left, right] = pads(layer);
    const room = out.at(-1) + left + right - layer.dilation * (layer.kernel - 1) - 1;
    out.push(out.at(-1) && room >= 0 ? Math.floor(room / layer.stride) + 1 : 0);
  }
  return out;
}

/** The level and unit that are shown: null means the top and the middle; no level without units. */
export function settle(layers, n, unit, level) {
  const maps = sizes(layers, n);
  let at = clamp(level ?? layers.length, 0, layers.length);
  while (!maps[at]) at -= 1;
  return [at, clamp(unit ?? Math.floor(maps[at] / 2), 0, maps[at] - 1)];
}

/** Follow one unit down to the input, counting the paths on which it reads each position. */
export function trace(layers, n, unit, level) {
  const maps = sizes(layers, n);
  const out = { spans: [[unit, unit]], padded: [[]], edges: [] };
  out.counts = [Array.from({ length: maps[level] }, (_, u) => Number(u === unit))];
  for (let depth = level - 1; depth >= 0; depth--) {
    const { kernel, stride, dilation } = layers[depth];
    const left = pads(layers[depth])[0];
    const above = out.counts[0];
    const counts = new Array(maps[depth]).fill(0);
    const padded = new Set();
    const edges = [];
    above.forEach((paths, u) => {
      for (let tap = 0; paths && tap < kernel; tap++) {
        const position = u * stride - left + tap * dilation;
        edges.push([u, position]);
        if (position >= 0 && position < maps[depth]) counts[position] += paths;
        else padded.add(position);
      }
    });
    const [low, high] = out.spans[0];
    out.spans.unshift([low * stride - left, high * stride - left + dilation * (kernel - 1)]);
    out.counts.unshift(counts);
    out.padded.unshift([...padded].sort((a, b) => a - b));
    out.edges.unshift(edges);
  }
  return out;
}

/** The stack at stride 1: each stride it loses dilates and pads all that follow (lesson 02). */
export function traded(layers) {
  let lost = 1;
  return layers.map((layer) => {
    const dilated = { ...layer, stride: 1, dilation: lost * layer.dilation, padding: lost * pads(layer)[0] };
    lost *= layer.stride;
    return dilated;
  });
}

/** Level, position on the dense map, and the strided stack's unit there; null if it has none. */
export function settleDense(layers, n, unit) {
  const [at, u] = settle(traded(layers), n, unit, null);
  const own = u / chain(layers)[at][1];
  return [at, u, Number.isInteger(own) && own < sizes(layers, n)[at] ? own : null];
}

/** Strided against dilated at a position, in a sentence. */
export function compare(layers, n, unit) {
  const [at, u, own] = settleDense(layers, n, unit);
  const [low, high] = trace(traded(layers), n, u, at).spans[0];
  const where = `${plural(high - low + 1, "pixel")}, ${signed(low)} to ${signed(high)}`;
  return own === null
    ? `Position ${u}: only the dilated stack has a unit here. It sees ${where}.`
    : `Position ${u}: both stacks have a unit here. Both see ${where}, and read the same of them with the same weights: one value.`;
}

/** What one sees, in a sentence. */
export function describe(layers, n, unit, level) {
  const [at, u] = settle(layers, n, unit, level);
  if (!at) return `Pixel ${u} of the input.`;
  const { spans: [[low, high]], counts: [counts] } = trace(layers, n, u, at);
  const size = high - low + 1;
  const inside = Math.max(0, Math.min(high, n - 1) - Math.max(low, 0) + 1);
  const read = counts.filter(Boolean).length;
  let text = `Unit ${u} of layer ${at} sees ${plural(size, "input pixel")}, ${signed(low)} to ${signed(high)}`;
  if (inside < size) text += `, ${size - inside} of them off the edge`;
  const rest = inside < size ? "the other " : "";
  if (!inside) text += ", and reads zeros only";
  else if (read === inside) text += `, and reads ${rest ? `${rest}${inside}` : "all of them"}`;
  else text += `, and reads ${read} of ${rest}${rest ? inside : "them"}: the rest are holes`;
  return `${text}.`;
}

/** Why the top layer has no output, or "". */
export function complaint(layers, n) {
  const maps = sizes(layers, n);
  const at = maps.indexOf(0);
  if (at < 0) return "";
  const { kernel, dilation } = layers[at - 1];
  const room = maps[at - 1] + pads(layers[at - 1])[0] + pads(layers[at - 1])[1];
  return `Layer ${at} has no output: its kernel spans ${dilation * (kernel - 1) + 1} positions, ` +
    `and the map below it has ${room}${pads(layers[at - 1])[1] ? " with padding" : ""}.`;
}

const layer = (kernel, stride = 1, dilation = 1, padding = "same") => ({ kernel, stride, dilation, padding });
const PRESETS = [
  { name: "3-3-3 (the notes)", n: 25, layers: [layer(3, 1, 1, 0), layer(3, 1, 1, 0), layer(3, 1, 1, 0)] },
  { name: "VGG block", n: 32, layers: [layer(3), layer(3), layer(2, 2, 1, 0), layer(3), layer(3), layer(2, 2, 1, 0)] },
  { name: "stride 2-2-1", n: 25, layers: [layer(3, 2, 1, 1), layer(3, 2, 1, 1), layer(3, 1, 1, 1)] },
  { name: "stride 2", n: 32, layers: [layer(3, 2), layer(3, 2), layer(3, 2)] },
  { name: "dilated 1-2-4", n: 31, layers: [layer(3), layer(3, 1, 2), layer(3, 1, 4)] },
  { name: "holes 2-2-2", n: 31, layers: [layer(3, 1, 2), layer(3, 1, 2), layer(3, 1, 2)] },
  { name: "hybrid 1-2-3", n: 31, layers: [layer(3), layer(3, 1, 2), layer(3, 1, 3)] },
];
export const presets = () => PRESETS;

// ---- the picture --------------------------------------------------------------------------------

const STRIDED = "strided", DILATED = "dilated, same weights";
const LIMITS = { kernel: [1, 7], stride: [1, 3], dilation: [1, 6] };
const HEAD = 30, ROW = 46, BARS = 78, PACE = 700;  // PACE: milliseconds at a position when playing

/** First and last input position that any cone of the stack reaches: no jumps on hovering. */
function extent(layers, n) {
  const maps = sizes(layers, n);
  return chain(layers).reduce(([first, last], [size, stride, padding], level) => (maps[level]
    ? [Math.min(first, -padding), Math.max(last, (maps[level] - 1) * stride - padding + size - 1)]
    : [first, last]), [0, n - 1]);
}

/** The drawing's markup, and `find(x, y)`: the unit nearest to a point. `names` of the rows, or none. */
function picture(layers, n, at, unit, width, { names, title = "", span: [first, last] = extent(layers, n) } = {}) {
  const maps = sizes(layers, n), fields = chain(layers), top = layers.length;
  const seen = trace(layers, n, unit, at);
  const centre = (level, u) => u * fields[level][1] - fields[level][2] + (fields[level][0] - 1) / 2;
  const y = (level) => HEAD + (top - level + 0.5) * ROW;

  const left = !names ? 14 : title ? 76 : 58, right = width - 146;
  const gap = Math.min(26, (right - left) / (last - first + 1));
  const start = (left + right - gap * (last - first)) / 2;
  const x = (level, u) => start + (centre(level, u) - first) * gap;
  const r = clamp(gap * 0.31, 1.3, 6.5);
  const f = (value) => value.toFixed(1);
  const disc = (cx, cy, radius) => {
    const q = Math.round(10 * radius) / 10;  // rounded once: two arcs of unequal ends bulge
    return `M${f(cx - q)} ${f(cy)}a${q} ${q} 0 1 0 ${f(2 * q)} 0a${q} ${q} 0 1 0 ${f(-2 * q)} 0`;
  };
  const path = (kind, d) => (d ? `<path class="${kind}" d="${d}"/>` : "");

  let cone = "", edges = "", idle = "", holes = "", taps = "", zeros = "", text = "", bars = "";
  for (let level = 0; level <= top; level++) {
    const live = level <= at, on = level === at ? "on" : "";
    const [low, high] = live ? seen.spans[level] : [0, -1];
    for (let u = 0; u < maps[level]; u++) {
      if (u < low || u > high) idle += disc(x(level, u), y(level), r);
      else if (!seen.counts[level][u]) holes += disc(x(level, u), y(level), r);
      else if (level < at) taps += disc(x(level, u), y(level), r);
    }
    if (live) {
      for (const u of seen.padded[level]) {
        const q = r * 0.85;
        zeros += `M${f(x(level, u) - q)} ${f(y(level) - q)}h${f(2 * q)}v${f(2 * q)}h${f(-2 * q)}z`;
      }
    }
    if (level < at) {
      const pad = Math.min(gap * 0.5, r + 3), [a, b] = seen.spans[level + 1];
      cone += `M${f(x(level, low) - pad)} ${f(y(level))}L${f(x(level + 1, a) - pad)} ${f(y(level + 1))}` +
        `H${f(x(level + 1, b) + pad)}L${f(x(level, high) + pad)} ${f(y(level))}Z`;
      for (const [u, p] of seen.edges[level]) {
        edges += `M${f(x(level + 1, u))} ${f(y(level + 1))}L${f(x(level, p))} ${f(y(level))}`;
      }
    }
    if (names) text += `<text class="name ${on}" x="0" y="${y(level) + 4}">${names[level]}</text>`;
    [maps[level], fields[level][1], fields[level][0]].forEach((value, column) => {
      text += `<text class="cell ${on}" x="${width - 98 + column * 47}" y="${y(level) + 4}">${value}</text>`;
    });
  }
  ["units", "stride", "field"].forEach((name, column) => {
    text += `<text class="head" x="${width - 98 + column * 47}" y="${HEAD - 10}">${name}</text>`;
  });

  text += `<text class="title" x="0" y="${HEAD - 10}">${title}</text>`;

  // below the input: how often each pixel is read, and how wide the field is
  const counts = seen.counts[0], most = Math.max(...counts, 1), base = y(0) + 17;
  const digits = gap > 7 + 6 * String(most).length;
  counts.forEach((count, u) => {
    if (!count || !at) return;
    const tall = Math.max(2, 26 * count / most);
    bars += `M${f(x(0, u) - gap * 0.31)} ${base}h${f(gap * 0.62)}v${f(tall)}h${f(-gap * 0.62)}z`;
    if (digits) text += `<text class="count" x="${f(x(0, u))}" y="${f(base + tall + 12)}">${count}</text>`;
  });
  const [low, high] = seen.spans[0], ruler = base + (digits ? 48 : 36);
  const [a, b] = [x(0, low) - gap / 2 + 1, x(0, high) + gap / 2 - 1];
  const bracket = `M${f(a)} ${ruler - 5}V${ruler}H${f(b)}V${ruler - 5}`;
  if (at) text += `<text class="ruler" x="${f(clamp((a + b) / 2, left + 30, right - 30))}" y="${ruler + 14}">${plural(high - low + 1, "pixel")} wide</text>`;
  if (at) text += `<text class="note" x="${width - 4}" y="${base + 16}">times each</text><text class="note" x="${width - 4}" y="${base + 31}">pixel is read</text>`;

  const markup = path("cone", cone) + path("edges", edges) + path("idle", idle) + path("holes", holes) +
    path("taps", taps) + path("zeros", zeros) + path("bars", bars) + path("bracket", at ? bracket : "") +
    path("ring", disc(x(at, unit), y(at), r + 3.5)) + path("unit", disc(x(at, unit), y(at), r + 0.8)) + text;
  const find = (px, py) => {
    const level = top - Math.floor((py - HEAD) / ROW);
    if (level < 0 || level > top || !maps[level]) return null;
    const u = Math.round(((px - start) / gap + first - centre(level, 0)) / fields[level][1]);
    if (u < -1 || u > maps[level]) return null;
    return [level, clamp(u, 0, maps[level] - 1)];
  };
  return { markup, find, height: HEAD + (top + 1) * ROW + BARS - (digits ? 0 : 12) };
}

/** r = 1 + (k - 1) d S + ... with the numbers of this stack, and where a unit's field lies. */
function formula(layers, at) {
  const fields = chain(layers);
  const [size, stride, padding] = fields[at];
  const terms = layers.slice(0, at).map((l, i) => `${l.kernel - 1}·${l.dilation}·${fields[i][1]}`);
  const shift = (value) => (value === 0 ? "" : value > 0 ? ` + ${value}` : ` − ${-value}`);
  const from = `${stride === 1 ? "" : stride}<i>u</i>`;
  return `<i>r</i> = 1 + Σ (<i>k</i>−1)·<i>d</i>·<i>S</i> = ${["1", ...terms].join(" + ")} = <b>${size}</b>` +
    `<br>unit <i>u</i> covers pixels <b>${from}${shift(-padding)}</b> to <b>${from}${shift(size - 1 - padding)}</b>`;
}

function render({ model, el }) {
  const state = () => ({
    layers: model.get("layers"), n: model.get("n"), unit: model.get("unit"), level: model.get("level"),
  });
  const dense = model.get("dense");  // strided against dilated
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  let hover = null, find = () => null, rows = [], timer = null;

  const bar = presetBar(PRESETS.filter(({ layers }) => !dense || layers.some((l) => l.stride > 1)), (preset) => {
    const { layers, n } = state();
    return n === preset.n && JSON.stringify(layers.map((l) => Object.entries(l).sort())) ===
      JSON.stringify(preset.layers.map((l) => Object.entries(l).sort()));
  }, ({ layers, n }) => commit(model, { layers, n, unit: null, level: null }));
  const controls = h("div", { class: "dl-rf-controls" });
  const drawing = s("svg", { class: "dl-rf-drawing", role: "slider", tabindex: 0, "aria-label": "unit whose cone is shown", ...KEYS });
  const below = s("svg", { "aria-hidden": "true" });
  const drawings = h("div", { class: "dl-rf-drawings" }, drawing, ...(dense ? [below] : []));
  const numbers = h("div", { class: "dl-figures" });
  const say = h("p", { class: "dl-say", "aria-live": "polite" });
  const warn = h("p", { class: "dl-say warn", role: "alert" });
  const sum = h("p", { class: "dl-formula" });
  const key = h("div", { class: "dl-key", "aria-hidden": "true" });
  key.innerHTML = [
    ["taps", "read", '<path class="taps" d="M1.5 7a5 5 0 1 0 10 0a5 5 0 1 0-10 0"/>'],
    ["holes", "seen, not read: a hole", '<path class="holes" d="M2 7a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0"/>'],
    ["zeros", "a zero of the padding", '<path class="zeros" d="M2.5 3h8v8h-8z"/>'],
    ["cone", "the field, by the formula", '<path class="cone" d="M0 1h14v12h-14z"/>'],
  ].map(([, name, mark]) => `<span><svg width="14" height="14">${mark}</svg>${name}</span>`).join("");
  const result = h("div", { class: "dl-rf-result" }, numbers, h("div", {}, warn, say, sum));
  const stage = h("div", { class: "dl-rf-stage" }, ...(dense ? [] : [controls]), drawings, result);
  const hint = h("p", { class: "dl-hint" }, dense
    ? "Press Play, point at a position and click to keep it, or focus the picture and use the arrow keys."
    : "Point at any unit, click to keep it; or focus the picture and use the arrow keys.");
  const root = h("div", { class: "dl dl-rf", role: "group", "aria-label": "receptive-field explorer" },
    bar.root, stage, key, hint);
  el.append(root);

  const halt = () => { clearInterval(timer); timer = null; draw(); };
  const step = () => {
    const { layers, n, unit } = state();
    const [at, u] = settleDense(layers, n, unit);
    commit(model, { unit: (u + 1) % sizes(traded(layers), n)[at] });
  };
  const player = h("button", {
    type: "button", class: "dl-pill", ...KEYS,
    onclick: () => {
      if (timer) { halt(); return; }
      hover = null;
      step();
      if (!still.matches) timer = setInterval(step, PACE);  // otherwise a press is one step
      draw();
    },
  }, "Play");
  if (dense) bar.root.prepend(player);

  const change = (index, part) => {
    const layers = state().layers.map((l, i) => (i === index ? { ...l, ...part } : l));
    commit(model, { layers });
  };

  function buildControls(count) {
    controls.replaceChildren();
    const add = h("button", {
      type: "button", class: "dl-add", title: "add a layer on top", ...KEYS,
      onclick: () => commit(model, { layers: [...state().layers, layer(3)], unit: null, level: null }),
    }, "+ layer");
    add.disabled = count >= 6;
    controls.append(h("div", { class: "dl-rf-row head" }, add,
      ...["kernel", "stride", "dilation", "padding"].map((name) => h("span", {}, name)), h("span")));
    rows = Array.from({ length: count }, (_, index) => {
      const parts = Object.fromEntries(Object.entries(LIMITS).map(([name, [min, max]]) => [name, stepper({
        label: `layer ${index + 1} ${name}`, min, max, change: (value) => change(index, { [name]: value }),
      })]));
      const padding = h("select", {
        class: "dl-select", "aria-label": `layer ${index + 1} padding`, ...KEYS,
        onchange: () => change(index, { padding: padding.value === "same" ? "same" : Number(padding.value) }),
      });
      for (const value of ["same", ...Array(10).keys()]) padding.append(h("option", { value }, value === 0 ? "none" : value));
      const remove = h("button", {
        type: "button", class: "dl-remove", "aria-label": `remove layer ${index + 1}`, title: "remove", ...KEYS,
        onclick: () => commit(model, { layers: state().layers.filter((_, i) => i !== index), unit: null, level: null }),
      }, "×");
      remove.disabled = count <= 1;
      return { ...parts, padding, root: h("div", { class: "dl-rf-row" }, h("span", { class: "name" }, `layer ${index + 1}`),
        parts.kernel.root, parts.stride.root, parts.dilation.root, padding, remove) };
    });
    controls.append(...[...rows].reverse().map((row) => row.root));
    rows.pixels = stepper({ label: "input pixels", min: 1, max: 64, change: (n) => commit(model, { n }) });
    controls.append(h("div", { class: "dl-rf-row" }, h("span", { class: "name" }, "input"), rows.pixels.root, h("span", { class: "unit" }, "pixels")));
  }

  const draw = perFrame(() => {
    const { layers, n, unit, level } = state();
    if (rows.length !== layers.length) buildControls(layers.length);
    rows.forEach((row, i) => {
      for (const name of Object.keys(LIMITS)) row[name].show(layers[i][name]);
      const value = String(layers[i].padding);
      if (![...row.padding.options].some((o) => o.value === value)) row.padding.append(h("option", { value }, value));
      row.padding.value = value;
    });
    rows.pixels.show(n);
    bar.show();

    player.textContent = timer ? "Pause" : "Play";

    const [at, u] = dense ? settleDense(layers, n, hover ? hover[1] : unit)
      : hover ? settle(layers, n, hover[1], hover[0]) : settle(layers, n, unit, level);
    const room = root.clientWidth - 34, wide = !dense && room >= 900;  // room for the controls beside their rows
    root.classList.toggle("wide", wide);
    root.classList.toggle("middle", !dense && !wide && room >= 620);
    const width = wide ? room - controls.offsetWidth - 18 : Math.max(280, room);
    const put = (svg, shown) => {
      set(svg, { width, height: shown.height });
      svg.innerHTML = shown.markup;
      find = shown.find;  // of the last one: both have one scale
    };
    const maps = sizes(dense ? traded(layers) : layers, n), [size, stride, padding] = chain(layers)[at];
    if (dense) {
      const own = settleDense(layers, n, u)[2], twin = traded(layers), [a, b] = [extent(layers, n), extent(twin, n)];
      const span = [Math.min(a[0], b[0]), Math.max(a[1], b[1])];  // a pixel stands under itself
      const pixel = clamp(Math.floor(u - padding + (size - 1) / 2), 0, n - 1);
      const lit = own === null ? [0, pixel] : [at, own];
      const strides = ["input", ...layers.map((l) => `stride ${l.stride}`)];
      const dilations = ["input", ...twin.map((l) => `dilation ${l.dilation}`)];
      put(drawing, picture(layers, n, ...lit, width, { names: strides, title: STRIDED, span }));
      put(below, picture(twin, n, at, u, width, { names: dilations, title: DILATED, span }));
    } else {
      const names = wide ? null : ["input", ...layers.map((_, i) => `layer ${i + 1}`)];
      put(drawing, picture(layers, n, at, u, width, { names }));
    }
    const text = dense ? compare(layers, n, u) : describe(layers, n, u, at);
    const read = trace(dense ? traded(layers) : layers, n, u, at).counts[0].filter(Boolean).length;
    numbers.innerHTML = figures(dense
      ? [[sizes(layers, n)[at], "units, strided"], [maps[at], "units, dilated"], [size, "pixels seen by each", "field"]]
      : [[size, "pixels seen", "field"], [read, "pixels read", "tap"], [stride, "stride"], [padding, "padding"]]);
    say.textContent = text;
    warn.textContent = complaint(layers, n);
    sum.innerHTML = at && !dense ? formula(layers, at) : "";
    set(drawing, { "aria-valuemin": 0, "aria-valuemax": maps[at] - 1, "aria-valuenow": u, "aria-valuetext": text });
  });

  const point = (event) => {
    const box = drawing.getBoundingClientRect();
    return find(event.clientX - box.left, dense ? HEAD : event.clientY - box.top);
  };
  drawings.addEventListener("pointermove", (event) => { if (!timer) { hover = point(event); draw(); } });
  drawings.addEventListener("pointerleave", () => { hover = null; draw(); });
  drawings.addEventListener("click", (event) => {
    if (timer) halt();
    const found = point(event);
    if (found) commit(model, { level: found[0] === state().layers.length ? null : found[0], unit: found[1] });
  });
  drawing.addEventListener("keydown", (event) => {
    const { n, unit, level } = state(), layers = dense ? traded(state().layers) : state().layers;
    const maps = sizes(layers, n), fields = chain(layers);
    let [at, u] = settle(layers, n, unit, dense ? null : level);
    const climb = dense ? 0 : { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (climb) {  // to the unit above or below that looks at the same place
      const next = at + climb;
      if (next >= 0 && next <= layers.length && maps[next]) {
        const centre = u * fields[at][1] - fields[at][2] + (fields[at][0] - 1) / 2;
        u = Math.round((centre + fields[next][2] - (fields[next][0] - 1) / 2) / fields[next][1]);
        at = next;
      }
    } else if (event.key in { ArrowLeft: 1, ArrowRight: 1, Home: 1, End: 1 }) {
      u = { ArrowLeft: u - 1, ArrowRight: u + 1, Home: 0, End: maps[at] - 1 }[event.key];
    } else return;
    event.preventDefault();
    event.stopPropagation();
    hover = null;
    commit(model, { level: at === layers.length ? null : at, unit: clamp(u, 0, maps[at] - 1) });
  });

  const stop = listen(model, ["layers", "n", "unit", "level"], draw);
  const sized = new ResizeObserver(draw);
  sized.observe(root);
  draw();
  return () => { stop(); sized.disconnect(); clearInterval(timer); draw.cancel(); };
}

export default { render };
