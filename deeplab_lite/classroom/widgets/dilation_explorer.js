import { h, clamp, signed, plural, perFrame, listen, commit, KEYS, stepper, presetBar, figures } from "./common.js";

// ---- the numbers: the same as atrous.tap_counts in Python, which the tests compare -------------

const active = (rates) => rates.filter((rate) => rate > 0);

/** Width of a dilated kernel: k + (k - 1)(d - 1). */
export function effectiveKernel(kernel, rate) {
  return kernel + (kernel - 1) * (rate - 1);
}

/** How often one output of the stack reads each pixel of a row: tap masks, convolved. */
export function profile(rates, kernel) {
  let counts = [1];
  for (const rate of active(rates)) {
    const next = new Array(counts.length + (kernel - 1) * rate).fill(0);
    counts.forEach((count, at) => {
      for (let tap = 0; tap < kernel; tap++) next[at + tap * rate] += count;
    });
    counts = next;
  }
  return counts;
}

/** The same in two dimensions: rows and columns are read independently, so counts multiply. */
export function tapCounts(rates, kernel) {
  const line = profile(rates, kernel);
  return line.map((row) => line.map((column) => row * column));
}

/** Darkness 0..1 of a count, as draw.tap_shade. */
export function shade(count, most) {
  return Math.log1p(count) / Math.log1p(Math.max(most, 8));
}

/** Size of the field, pixels read, share read in per cent. */
export function summary(rates, kernel) {
  const line = profile(rates, kernel);
  const size = line.length, read = line.filter(Boolean).length ** 2;
  return { size, read, holes: size * size - read, percent: Math.floor((100 * read) / (size * size) + 0.5) };
}

/** What one sees, in a sentence. */
export function describe(rates, kernel) {
  const on = active(rates);
  if (!on.length) return "No layer: an output is one pixel.";
  const { size, read, holes, percent } = summary(rates, kernel);
  const name = `${on.length > 1 ? "Rates" : "Rate"} ${on.join(", ")} with ${kernel}×${kernel} taps`;
  const end = holes ? `${read} of them (${percent} %): the other ${holes} are holes.` : "all of them: no holes.";
  return `${name}: an output sees ${size}×${size} pixels and reads ${end}`;
}

const PRESETS = [
  { name: "1", rates: [1, 0, 0, 0] },
  { name: "2", rates: [2, 0, 0, 0] },
  { name: "1-1-1 plain", rates: [1, 1, 1, 0] },
  { name: "2-2-2 holes", rates: [2, 2, 2, 0] },
  { name: "1-2-3 hybrid", rates: [1, 2, 3, 0] },
  { name: "1-2-5 hybrid", rates: [1, 2, 5, 0] },
  { name: "1-2-4", rates: [1, 2, 4, 0] },
];
export const presets = () => PRESETS;

// ---- the picture --------------------------------------------------------------------------------

const STOPS = [[222, 238, 249], [86, 180, 233], [0, 114, 178], [3, 44, 87]];

/** The colour of a count: pale to deep blue, as draw.tap_colors. */
export function color(count, most) {
  const place = shade(count, most) * 3, from = Math.min(2, Math.floor(place));
  return STOPS[from].map((low, i) => Math.round(low + (STOPS[from + 1][i] - low) * (place - from)));
}

function hatching(context, ratio) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6 * ratio;
  const pen = tile.getContext("2d");
  pen.strokeStyle = "#b9bfc7";
  pen.lineWidth = ratio;
  for (const at of [-6, 0, 6]) {
    pen.moveTo((at - 1) * ratio, 7 * ratio);
    pen.lineTo((at + 7) * ratio, -ratio);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}

function fit(canvas, side) {
  const ratio = window.devicePixelRatio || 1;
  canvas.style.width = canvas.style.height = `${side}px`;
  canvas.width = canvas.height = Math.round(side * ratio);  // also clears it
  return [canvas.getContext("2d"), ratio];
}

/** Paint the map; returns where it lies, to find the pixel under the pointer. */
function paint(canvas, side, rates, kernel, cursor) {
  const [pen, ratio] = fit(canvas, side);
  const line = profile(rates, kernel), size = line.length;
  const most = Math.max(...line) ** 2;
  const cell = Math.min(36, Math.floor((side - 12) * ratio / size) / ratio);  // whole device pixels
  const start = Math.round((side - cell * size) / 2 * ratio) / ratio;
  const seam = cell >= 6 ? 1 : 0;
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = hatching(pen, ratio);
  pen.fillRect(start * ratio, start * ratio, cell * size * ratio, cell * size * ratio);
  pen.scale(ratio, ratio);
  const digits = String(most).length;
  const type = Math.min(13, (cell - 4) / (0.62 * digits));
  pen.font = `${type}px system-ui, sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  line.forEach((row, y) => line.forEach((column, x) => {
    const count = row * column;
    if (!count) return;
    pen.fillStyle = "#ffffff";  // the seam
    pen.fillRect(start + x * cell, start + y * cell, cell, cell);
    pen.fillStyle = `rgb(${color(count, most)})`;
    pen.fillRect(start + x * cell, start + y * cell, cell - seam, cell - seam);
    if (cell >= 17 && type >= 7) {
      pen.fillStyle = shade(count, most) > 0.55 ? "#ffffff" : "#101820";
      pen.fillText(count, start + (x + 0.5) * cell - seam / 2, start + (y + 0.54) * cell - seam / 2);
    }
  }));
  if (cursor) {
    pen.lineWidth = 2;
    pen.strokeStyle = "#d55e00";
    pen.strokeRect(start + cursor[1] * cell - 1.5, start + cursor[0] * cell - 1.5, cell + 3 - seam, cell + 3 - seam);
  }
  return { start, cell, size };
}

/** The taps of one dilated kernel; all four at one scale. */
function paintKernel(canvas, rate, kernel, widest) {
  const side = 44, [pen, ratio] = fit(canvas, side);
  if (!rate) return;
  pen.scale(ratio, ratio);
  const cell = (side - 2) / widest, size = effectiveKernel(kernel, rate);
  const start = (side - cell * size) / 2;
  pen.fillStyle = "#ffffff";
  pen.fillRect(start - 1, start - 1, cell * size + 2, cell * size + 2);
  pen.fillStyle = "rgba(86, 180, 233, .35)";
  pen.fillRect(start - 1, start - 1, cell * size + 2, cell * size + 2);
  pen.fillStyle = "#0072b2";
  const dot = Math.max(cell - (cell > 4 ? 1 : 0), 1.6);
  for (let y = 0; y < kernel; y++) {
    for (let x = 0; x < kernel; x++) {
      pen.fillRect(start + (x * rate + 0.5) * cell - dot / 2, start + (y * rate + 0.5) * cell - dot / 2, dot, dot);
    }
  }
}

function render({ model, el }) {
  const state = () => ({
    rates: [...model.get("rates"), 0, 0, 0, 0].slice(0, 4), kernel: model.get("kernel"),
  });
  let hover = null, cursor = null, place = null;

  const bar = presetBar(PRESETS, (preset) => {
    const { rates, kernel } = state();
    return kernel === 3 && String(active(rates)) === String(active(preset.rates));
  }, ({ rates }) => commit(model, { rates, kernel: 3 }));
  const canvas = h("canvas", { tabindex: 0, role: "img", class: "dl-di-map", ...KEYS });
  const rows = [0, 1, 2, 3].map((index) => {
    const slider = h("input", {
      type: "range", min: 0, max: 8, step: 1, "aria-label": `rate of layer ${index + 1}, 0 is off`, ...KEYS,
      oninput: () => {
        const rates = state().rates;
        rates[index] = Number(slider.value);
        commit(model, { rates });
      },
    });
    const rate = h("b"), acts = h("span", { class: "acts" }), mini = h("canvas", { "aria-hidden": "true" });
    return { slider, rate, acts, mini, root: h("div", { class: "dl-di-row" }, h("span", {}, `layer ${index + 1}`), slider, rate, acts, mini) };
  });
  const taps = stepper({ label: "kernel", min: 2, max: 5, change: (kernel) => commit(model, { kernel }) });
  const numbers = h("div", { class: "dl-figures" });
  const say = h("p", { class: "dl-say", "aria-live": "polite" });
  const pixel = h("p", { class: "dl-hint", "aria-live": "polite" });
  const controls = h("div", { class: "dl-di-controls" },
    h("div", { class: "dl-di-row head" }, h("span"), h("span", {}, "dilation rate"), h("span"), h("span", {}, "acts as"), h("span", {}, "taps")),
    ...rows.map((row) => row.root),
    h("div", { class: "dl-di-row" }, h("span", {}, "kernel"), taps.root),
    numbers, say);
  const root = h("div", { class: "dl dl-di", role: "group", "aria-label": "dilation explorer" },
    bar.root, h("div", { class: "dl-di-stage" }, h("div", {}, canvas, pixel), controls));
  el.append(root);

  const draw = perFrame(() => {
    const { rates, kernel } = state();
    bar.show();
    taps.show(kernel);
    const widest = Math.max(9, ...active(rates).map((rate) => effectiveKernel(kernel, rate)));
    rows.forEach((row, i) => {
      const size = effectiveKernel(kernel, rates[i]);
      if (row.slider.value !== String(rates[i])) row.slider.value = rates[i];
      row.slider.setAttribute("aria-valuetext", rates[i] ? `rate ${rates[i]}, acts as ${size} by ${size}` : "off");
      row.rate.textContent = rates[i] || "off";
      row.acts.textContent = rates[i] ? `${size} × ${size}` : "";
      row.root.classList.toggle("off", !rates[i]);
      paintKernel(row.mini, rates[i], kernel, widest);
    });
    const { size, read, percent } = summary(rates, kernel);
    numbers.innerHTML = figures([
      [`${size} × ${size}`, "pixels seen", "field"], [read, plural(read, "pixel").replace(/^\d+ /, "") + " read", "tap"], [`${percent} %`, "of the field"],
    ]);
    const text = describe(rates, kernel);
    say.textContent = text;
    canvas.setAttribute("aria-label", `${text} Arrow keys walk over the pixels.`);

    const at = hover || cursor;
    if (at && (at[0] >= size || at[1] >= size)) hover = cursor = null;
    const shown = hover || cursor;
    const side = clamp(root.clientWidth - 32, 240, 400);
    place = paint(canvas, side, rates, kernel, shown);
    if (shown) {
      const line = profile(rates, kernel), count = line[shown[0]] * line[shown[1]];
      const middle = (size - 1) / 2, offset = (v) => signed(v > 0 ? `+${v}` : v);
      pixel.textContent = `Row ${offset(shown[0] - middle)}, column ${offset(shown[1] - middle)} from the centre: ` +
        (count ? `read ${plural(count, "time")}.` : "never read, a hole.");
    } else pixel.textContent = "Dark: read on many paths; hatched: never. Point at a pixel.";
  });

  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const [y, x] = [event.clientY - box.top, event.clientX - box.left].map((v) => Math.floor((v - place.start) / place.cell));
    hover = y >= 0 && x >= 0 && y < place.size && x < place.size ? [y, x] : null;
    draw();
  });
  canvas.addEventListener("pointerleave", () => { hover = null; draw(); });
  canvas.addEventListener("blur", () => { cursor = null; draw(); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    hover = null;
    const from = cursor || [place.size >> 1, place.size >> 1];
    cursor = cursor ? from.map((v, i) => clamp(v + step[i], 0, place.size - 1)) : from;
    draw();
  });

  const stop = listen(model, ["rates", "kernel"], draw);
  const sized = new ResizeObserver(draw);
  sized.observe(root);
  draw();
  return () => { stop(); sized.disconnect(); draw.cancel(); };
}

export default { render };
