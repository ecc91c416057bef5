import { set, h, s, safe, clamp, perFrame, listen, commit, KEYS, stepper, presetBar, figures } from "./common.js";

// ---- numbers, the same as in architecture_steps.py (tests compare), and sentences ----------------

const COLUMNS = ["name", "kind", "kernel", "stride", "dilation", "before", "after", "ceil", "entering", "leaving", "parameters"];
const PLAIN = { dense: false, atrous: false, fc6: "7x7" };  // VGG-16, before the changes

/** The layers of a state, put together from the table that Python has read off the networks. */
export function layers(table, state) {
  const convs = table.convs[Number(state.atrous)], rows = [];
  for (const pool of table.pools[state.pools][Number(state.dense)]) {
    rows.push(...convs.filter((conv) => conv[0][4] === pool[0][4]), pool);
  }
  const head = table.heads[state.fc6][Number(state.atrous)];
  rows.push(...head.filter((row) => row[0] !== "pool5a" || state.pools === "caffe"));
  return rows.map((row) => {
    const layer = Object.fromEntries(COLUMNS.map((name, at) => [name, row[at]]));
    const full = !state.convolutional && layer.kind === "conv" && layer.name.startsWith("fc");
    return full ? { ...layer, kind: "full", dilation: 1, before: 0, after: 0 } : layer;
  });
}

/** Units of the map that a layer makes of one of `size` units; 0 if it does not fit. */
export function sizeAfter(layer, size) {
  if (layer.kind === "full") return Number(size === layer.kernel);
  const room = size + layer.before + layer.after - layer.dilation * (layer.kernel - 1) - 1;
  if (!size || room < 0) return 0;
  const units = Math.floor(room / layer.stride) + 1;
  const more = layer.ceil && room % layer.stride && units * layer.stride < size + layer.before;
  return units + Number(Boolean(more));
}

/** What each layer gives, fields by the recurrence of lesson 01. */
export function rows(table, state) {
  const strides = {}, taps = {};
  let stride = 1;
  for (const layer of layers(table, { ...state, ...PLAIN })) {
    [strides[layer.name], taps[layer.name]] = [stride, layer.kernel];
    stride *= layer.stride;
  }
  let size = state.input_size, field = 1, start = 0;
  stride = 1;
  return layers(table, state).map((layer) => {
    size = sizeAfter(layer, size);
    const learnt = layer.parameters > 0 && layer.kernel > 1;
    const spacing = learnt ? layer.dilation * stride : 0;
    const kept = learnt ? Math.floor((taps[layer.name] - 1) / (layer.kernel - 1)) : 0;
    const trained = learnt ? strides[layer.name] * kept : 0;
    field += layer.dilation * (layer.kernel - 1) * stride;
    start += layer.before * stride;
    stride *= layer.stride;
    const multiply_adds = size * size * Math.max(0, layer.parameters - layer.leaving);
    return { layer, size, stride, field, start, spacing, trained, multiply_adds };
  });
}

/** 134.3 M: a count to one decimal. */
export function amount(count) {
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= unit) {
      const tenths = Math.floor((20 * count + unit) / (2 * unit));
      return `${Math.floor(tenths / 10)}.${tenths % 10} ${name}`;
    }
  }
  return String(count);
}

const grouped = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** What the layer called `name` does and gives. */
export function describe(table, state, name) {
  if (name === "image") return `The image: ${state.input_size} × ${state.input_size} pixels of 3 channels.`;
  const row = rows(table, state).find((r) => r.layer.name === name), x = row.layer;
  const square = (side) => `${side} × ${side}`;
  let text;
  if (x.kind === "full") {
    text = `${name} is fully connected to a ${square(x.kernel)} map of ${x.entering} channels` +
      (row.size ? `: ${x.leaving} answers.` : "; there is none here, so no output.");
  } else if (x.kind === "conv") {
    const dilated = x.dilation > 1 ? ` at dilation ${x.dilation}` : "";
    text = `${name} is a ${square(x.kernel)} convolution${dilated}, ${x.entering} to ${x.leaving} channels.`;
  } else {
    const what = x.kind === "max" ? "maximum" : "mean";
    text = `${name} takes the ${what} of ${square(x.kernel)} positions at stride ${x.stride}.`;
  }
  if (row.size) text += ` Map ${square(row.size)}; a unit sees ${square(row.field)} pixels.`;
  if (row.spacing) {
    text += ` Its taps are ${row.spacing} pixels apart, ` +
      (row.spacing === row.trained ? "as they were trained." : `trained ${row.trained} apart.`);
  }
  if (x.parameters) text += ` ${grouped(x.parameters)} parameters, ${amount(row.multiply_adds)} multiply-adds.`;
  return text;
}

/** ["fine", "odd" or "wrong", why]: whether the weights of VGG-16 still fit this network. */
export function verdict(table, state) {
  const found = rows(table, state), last = found.at(-1);
  const fc6 = found.findIndex((row) => row.layer.name === "fc6");
  const kernel = found[fc6].layer.kernel, given = found[fc6 - 1].size;
  if (!state.convolutional && given !== kernel) {
    return ["wrong", `fc6 is a matrix made for a map of ${kernel} × ${kernel} positions and gets ` +
      `${given} × ${given}: fully connected layers fit one size of image. ` +
      "As a convolution the same weights slide over any map."];
  }
  const plain = rows(table, { ...state, ...PLAIN }).at(-1);
  const moved = found.filter((row) => row.spacing !== row.trained && ["conv5_1", "fc6"].includes(row.layer.name));
  let text = state.convolutional ? "" : "One answer for the whole image, as in VGG-16. ";
  if (moved.length) {
    const why = state.dense
      ? (state.atrous ? "Fully connected layers have no dilation" : "The strides are gone, and no dilation makes up for them")
      : (state.atrous ? "Dilation, but the strides are still there" : "fc6 keeps fewer taps, but not their places");
    const reads = moved.map((row, at) => `${row.layer.name.replace("_1", "")}'s${at ? "" : " taps are"} ` +
      `${row.spacing}${at ? "" : " pixels apart"} (trained: ${row.trained})`).join(" and ");
    return ["odd", `${text}${why}: ${reads}. A unit sees ${last.field} pixels instead of ` +
      `${plain.field}, and the weights no longer see what they were trained on.`];
  }
  if (state.dense) {
    text += "Every tap is as far from the next as when it was trained, and there is a score " +
      `every ${last.stride} pixels instead of every ${plain.stride}.`;
  } else if (state.convolutional) {
    text += `VGG-16 as trained, at every place: a score every ${last.stride} pixels.`;
  }
  const cover = Math.ceil(state.input_size / last.stride);
  if (state.pools === "notes" && last.size > cover) {
    text += ` A map of ${cover} × ${cover} would cover the image: the padding of pool4 and pool5 adds the rest.`;
  }
  return ["fine", text.trim()];
}

/** [[value, name], ...] of the whole network. */
export function summary(table, state) {
  const found = rows(table, state), last = found.at(-1), none = last.size ? "" : "none";
  const sum = (of) => amount(found.reduce((total, row) => total + of(row), 0));
  return [
    [none || `${last.size} × ${last.size}`, "score map"],
    [none || String(last.stride), "output stride"],
    [none || String(last.field), "field, pixels"],
    [sum((row) => row.layer.parameters), "parameters"],
    [sum((row) => row.multiply_adds), "multiply-adds"],
  ];
}

const step = (name, input_size, convolutional, dense, atrous, fc6, pools) =>
  ({ name, state: { input_size, convolutional, dense, atrous, fc6, pools } });
const PRESETS = [
  step("VGG-16", 224, false, false, false, "7x7", "torchvision"),
  step("1 convolutional", 321, true, false, false, "7x7", "torchvision"),
  step("2 stride 8", 321, true, true, false, "7x7", "torchvision"),
  step("3 atrous", 321, true, true, true, "7x7", "torchvision"),
  step("4 LargeFOV, as released", 321, true, true, true, "largefov", "caffe"),
  step("the notes", 514, true, true, true, "7x7", "notes"),
];
export const presets = () => PRESETS;

// ---- the pictures -------------------------------------------------------------------------------

const MAPS = 132, FIELDS = 96, NAMES = 46, TOP = 22;  // heights of the lanes
const STATE = ["input_size", "convolutional", "dense", "atrous", "fc6", "pools"];
const f = (value) => value.toFixed(1);
const box = (x, y, w, t) => `M${f(x)} ${f(y)}h${f(w)}v${f(t)}h${f(-w)}z`;
const pick = (layer, there) => (there.includes(layer) ? layer : "pool5");  // pool5a comes and goes
const joined = (text) => text.replace(/(?<=\d) (?=× |[GMk] )|(?<=×) (?=\d)/g, "\u00a0");  // on one line
const path = (kind, d) => (d ? `<path class="${kind}" d="${d}"/>` : "");

/** A name for a column of that many pixels: pools need no number, between their layers. */
const short = (name, room) => {
  if (name.startsWith("conv")) return room < 17 ? "" : name.replace("conv", "");
  return room < 23 ? name.replace("image", "in").replace("pool5a", "5a").replace(/pool\d/, room < 14 ? "p" : "pool") : name;
};

/** Width of a layer's bar: by the logarithm of its channels. */
const wide = (channels) => clamp(2 * Math.log2(channels) - 5, 3, 20);

/** The chain: maps upward, fields downward, ticks at what they were before changes 2 to 4. */
function chainPicture(table, state, chosen, width) {
  const image = { layer: { name: "image", kind: "image", leaving: 3 }, size: state.input_size, stride: 1, field: 1 };
  const all = [image, ...rows(table, state)];
  const before = rows(table, { ...state, ...PLAIN, convolutional: true });
  const plain = new Map(before.map((row) => [row.layer.name, row]));
  const part = ({ name }) => (name === "image" ? 1.7 : name.startsWith("conv") ? 1 : 1.75);
  const left = 54, unit = (width - left - 4) / all.reduce((sum, row) => sum + part(row.layer), 0);
  const up = MAPS / Math.max(...all.map((row) => row.size));
  const down = FIELDS / Math.max(state.input_size, ...[...all, ...before].map((row) => row.field));
  const base = TOP + MAPS, roof = base + NAMES, height = roof + FIELDS + 26;
  const marks = { image: "", conv: "", pool: "", slats: "", full: "", field: "", tick: "", none: "" };
  const places = [];
  let x = left, text = "", band = "", last = {};
  for (const row of all) {
    const { layer, size, stride, field } = row, column = unit * part(layer), mid = x + column / 2;
    const on = layer.name === chosen ? " on" : "", tall = Math.max(1.5, size * up);
    const w = Math.min(0.9 * column, wide(layer.leaving));
    const label = (y, value, kind = "") => {
      text += `<text class="${kind}${on}" x="${f(mid)}" y="${f(y)}">${value}</text>`;
    };
    const tick = (y) => {
      marks.tick += `M${f(mid - column * 0.45)} ${f(y)}h${f(column * 0.9)}`;
      return y;
    };
    if (on) band = `<rect class="band" x="${f(x)}" y="2" width="${f(column)}" height="${height - 4}" rx="4"/>`;
    if (!size) marks.none += `M${f(mid - 4)} ${base - 10}l8 8m0 -8l-8 8`;
    else if (layer.dilation > 1) {
      for (let y = 0; y < tall; y += 4) {
        marks.slats += box(mid - w / 2, base - Math.min(tall, y + 2.4), w, Math.min(2.4, tall - y));
      }
    } else marks[layer.kind in marks ? layer.kind : "pool"] += box(mid - w / 2, base - tall, w, tall);
    if (size && layer.kind !== "image") marks.field += box(mid - column * 0.3, roof, column * 0.6, field * down);

    let over = base - tall - 5, under = roof + field * down + 12;  // numbers, clear of the ticks
    const was = layer.kind === "full" ? null : plain.get(layer.name);
    if (was && was.size !== size) {
      const y = tick(base - was.size * up);
      if (y < over + 7 && y > over - 12) over = y - 4;
    }
    if (was && was.field !== field) {
      const y = tick(roof + was.field * down);
      if (y > under - 14 && y < under + 4) under = y + 12;
    }
    if (size && (size !== last.size || on)) label(over, size);
    const name = short(layer.name, unit);
    if (name || on) label(base + 14, name || layer.name.slice(4), row.spacing !== row.trained ? "odd" : "");
    if (stride !== last.stride || on) label(base + 30, stride, "quiet");
    const isConv = layer.name.startsWith("conv");
    if (size && layer.kind !== "image" && (!isConv || on)) label(under, field);
    last = row;
    x += column;
    places.push({ name: layer.name, end: x });
  }
  const line = roof + state.input_size * down;
  const sides = [["map side,", base - 16], ["units", base - 3], ["layer", base + 14], ["stride", base + 30],
    ["field,", roof + 12], ["pixels", roof + 25], ...(line > roof + 40 ? [["image", line + 4]] : [])];
  const markup = band + path("axis", `M${left} ${base}H${width}M${left} ${roof}H${width}`) +
    path("limit", `M${left} ${f(line)}H${width}`) +
    Object.entries(marks).map(([kind, d]) => path(kind, d)).join("") +
    sides.map(([word, y]) => `<text class="side" x="0" y="${f(y)}">${word}</text>`).join("") + text;
  const find = (px) => (places.find((place) => px < place.end) ?? places.at(-1)).name;
  return { markup, height, tight: unit < 23, find, names: places.map((place) => place.name) };
}

/** The image from above: the units of a layer's map, and what the middle one sees and reads. */
function imagePicture(table, state, chosen, side) {
  const row = rows(table, state).find((r) => r.layer.name === chosen), n = state.input_size;
  if (!row?.size) return path("photo", box(1, 1, side - 2, side - 2));
  const { layer, size, stride, field, start, spacing, trained } = row;
  const first = Math.floor(size / 2) * stride - start, middle = first + field / 2;
  const low = Math.min(0, first), scale = (side - 2) / (Math.max(n, first + field) - low);
  const at = (pixel) => 1 + (pixel - low) * scale;
  const dot = clamp(stride * scale * 0.3, 0.8, 2.5);
  let units = "";
  for (let u = 0; u < size && stride * scale > 2.2; u++) {  // else they would run together
    for (let v = 0; v < size; v++) {
      const [x, y] = [u, v].map((i) => at(i * stride - start + field / 2));
      if (x > 0 && y > 0 && x < side && y < side) units += box(x - dot / 2, y - dot / 2, dot, dot);
    }
  }
  const taps = (apart, r) => {
    const line = Array.from({ length: layer.kernel }, (_, k) => at(middle + (k - (layer.kernel - 1) / 2) * apart));
    const disc = (x, y) => `M${f(x - r)} ${f(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
    return line.flatMap((x) => line.map((y) => disc(x, y))).join("");
  };
  return path("photo", box(at(0), at(0), n * scale, n * scale)) + path("units", units) +
    path("field", box(at(first), at(first), field * scale, field * scale)) +
    (spacing !== trained ? path("was", taps(trained, 3.5)) : "") + (spacing ? path("taps", taps(spacing, 2.5)) : "");
}

function render({ model, el }) {
  const state = () => Object.fromEntries(STATE.map((name) => [name, model.get(name)]));
  const table = () => model.get("table");
  let shown = { find: () => null, names: [] }, hover = null;

  const bar = presetBar(PRESETS, (preset) => {
    const now = state();
    return STATE.every((name) => now[name] === preset.state[name]);
  }, (preset) => commit(model, preset.state));

  // From 1, for whoever types 321 passes 3; below 32 the last map has no unit.
  const pixels = stepper({
    label: "input size in pixels", min: 1, max: 1025,
    change: (value) => { if (value >= 32) commit(model, { input_size: value }); },
  });
  set(pixels.root.querySelector("input"), { min: 32, title: "input size in pixels: 32 to 1025" });
  const pools = h("select", {
    class: "dl-select", "aria-label": "pools", ...KEYS, onchange: () => commit(model, { pools: pools.value }),
  }, ...[["torchvision", "2 × 2, of VGG-16"], ["caffe", "3 × 3, as released"], ["notes", "the notes’"]]
    .map(([value, name]) => h("option", { value }, name)));
  const toggles = [
    ["convolutional", "1", "fc6 to fc8 as convolutions"],
    ["dense", "2", "pool4, pool5 at stride 1"],
    ["atrous", "3", "conv5 and fc6 dilated"],
  ].map(([name, number, label]) => {
    const onchange = () => commit(model, { [name]: input.checked });
    const input = h("input", { type: "checkbox", "aria-label": label, ...KEYS, onchange });
    return { name, input, root: h("label", { class: "dl-ar-toggle" }, input, h("b", {}, number), label) };
  });
  const forms = [["7x7", "7 × 7"], ["4x4", "4 × 4"], ["largefov", "3 × 3 · 1024"]].map(([value, name]) => {
    const root = h("button", { type: "button", class: "dl-pill", onclick: () => commit(model, { fc6: value }), ...KEYS }, name);
    return { value, root };
  });
  const small = h("div", { class: "dl-ar-toggle", role: "group", "aria-label": "kernel of fc6" },
    h("b", {}, "4"), "fc6", ...forms.map((form) => form.root));
  const controls = h("div", { class: "dl-ar-controls" }, ...toggles.map((toggle) => toggle.root), small,
    h("span", { class: "dl-ar-toggle" }, "pools", pools), h("span", { class: "dl-ar-toggle" }, "input", pixels.root, "pixels"));
  const totals = h("div", { class: "dl-figures dl-ar-totals" });
  const warn = h("p", { class: "dl-say", "aria-live": "polite" });
  const drawing = s("svg", { class: "dl-ar-chain", role: "slider", tabindex: 0, "aria-label": "layer", ...KEYS });
  const seen = s("svg", { class: "dl-ar-image", role: "img" });
  const numbers = h("div", { class: "dl-figures" });
  const say = h("p", { class: "dl-say", "aria-live": "polite" });
  const key = h("div", { class: "dl-key", "aria-hidden": "true" });
  key.innerHTML = [
    ["convolution", '<path class="conv" d="M3 1h8v12h-8z"/>'],
    ["dilated", '<path class="slats" d="M3 1h8v2.4h-8zM3 5h8v2.4h-8zM3 9h8v2.4h-8z"/>'],
    ["pool", '<path class="pool" d="M3 1h8v12h-8z"/>'],
    ["fully connected", '<path class="full" d="M3 1h8v12h-8z"/>'],
    ["before changes 2 to 4", '<path class="tick" d="M1 7h12"/>'],
    ["field", '<path class="field" d="M1 1h12v12h-12z"/>'],
    ["tap", '<path class="taps" d="M4 7a3 3 0 1 0 6 0a3 3 0 1 0-6 0"/>'],
    ["where it was trained", '<path class="was" d="M3 7a4 4 0 1 0 8 0a4 4 0 1 0-8 0"/>'],
  ].map(([name, mark]) => `<span><svg width="14" height="14">${mark}</svg>${name}</span>`).join("");
  const hint = h("p", { class: "dl-hint" }, "Click a layer, or focus the chain and use the arrow keys. " +
    "1_1 is conv1_1; a bar is wider for more channels.");
  const detail = h("div", { class: "dl-ar-detail" }, seen, h("div", {}, numbers, say, key, hint));
  const root = h("div", { class: "dl dl-ar", role: "group", "aria-label": "architecture explorer" },
    bar.root, controls, totals, warn, drawing, detail);
  el.append(root);

  const draw = perFrame(() => {
    const now = state(), kept = model.get("layer");
    pixels.show(now.input_size);
    pools.value = now.pools;
    toggles.forEach(({ name, input }) => { input.checked = now[name]; });
    forms.forEach(({ value, root: button }) => button.setAttribute("aria-pressed", now.fc6 === value));
    bar.show();
    const width = Math.max(300, root.clientWidth - 34);
    const there = ["image", ...layers(table(), now).map((layer) => layer.name)];
    const chosen = pick(hover ?? kept, there);
    shown = chainPicture(table(), now, chosen, width);
    set(drawing, { width, height: shown.height });
    drawing.classList.toggle("tight", shown.tight);
    drawing.innerHTML = shown.markup;
    const side = width < 460 ? 180 : 220;
    set(seen, { width: side, height: side, "aria-label": "units of the map on the image" });
    seen.innerHTML = imagePicture(table(), now, chosen, side);
    totals.innerHTML = figures(summary(table(), now));
    const [tone, why] = verdict(table(), now);
    warn.className = `dl-say ${tone === "fine" ? "" : "warn"}`;
    warn.textContent = joined(why);
    const text = describe(table(), now, chosen);
    say.textContent = joined(text);
    const row = rows(table(), now).find((r) => r.layer.name === chosen);
    const map = (r) => [[`${r.size} × ${r.size}`, "map"], [r.stride, "stride"], [r.field, "field, pixels", "field"]];
    numbers.innerHTML = figures(row ? [
      ...(row.size ? map(row) : [["none", "map"]]),
      [amount(row.layer.parameters), "parameters"], [amount(row.multiply_adds), "multiply-adds"],
      ...(row.spacing ? [[row.spacing, "tap spacing", "tap"]] : []),
    ] : [[`${now.input_size} × ${now.input_size}`, "pixels"]]);
    const place = there.indexOf(chosen);
    set(drawing, { "aria-valuemin": 0, "aria-valuemax": there.length - 1, "aria-valuenow": place, "aria-valuetext": text });
  });

  const point = (event) => shown.find(event.clientX - drawing.getBoundingClientRect().left);
  drawing.addEventListener("pointermove", (event) => { hover = point(event); draw(); });
  drawing.addEventListener("pointerleave", () => { hover = null; draw(); });
  drawing.addEventListener("click", (event) => commit(model, { layer: point(event) }));
  drawing.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, Home: -99, End: 99 }[event.key];
    if (!move) return;
    event.preventDefault();
    event.stopPropagation();
    hover = null;
    const at = shown.names.indexOf(pick(model.get("layer"), shown.names));
    commit(model, { layer: shown.names[clamp(at + move, 0, shown.names.length - 1)] });
  });

  const stop = listen(model, [...STATE, "layer", "table"], draw);
  const sized = new ResizeObserver(draw);
  sized.observe(root);
  draw();
  return () => { stop(); sized.disconnect(); draw.cancel(); };
}

export default { render };
