import { h, s, safe, clamp, signed, perFrame, listen, commit, KEYS, presetBar, figures } from "./common.js";

// ---- the sentences ---------------------

const count = (value) => value.toLocaleString("en-US");
const OF_A_CLASS = ["marginal", "appearance", "smoothness"];
const VIEWS = [
  { key: "labels", name: "label map" },
  { key: "changes", name: "what changed" },
  { key: "marginal", name: "marginal" },
  { key: "appearance", name: "appearance message" },
  { key: "smoothness", name: "smoothness message" },
];
export const views = () => VIEWS.map(({ key, name }) => [key, name]);

/** An energy in words: whole from 10 on, else to a tenth. */
export function nats(value) {
  const size = Math.abs(value), sign = value < 0 ? "−" : "";
  const number = size >= 10 ? Math.floor(size + 0.5) : Math.floor(10 * size + 0.5) / 10;
  return `${sign}${count(number)} nats`;
}

/** What a step did, in a sentence. */
export function describe(found, step) {
  const score = found.miou.length ? `; mIoU ${found.miou[step].toFixed(3)}` : "";
  const free = found.free;
  if (!step) return `Step 0, the start: what the network says. Free energy ${nats(free[0])}${score}.`;
  const changed = found.changed[step], fall = free[step - 1] - free[step];
  let text = `Step ${step} of ${free.length - 1} gives ${count(changed)} pixel${changed === 1 ? "" : "s"} another class`;
  if (found.miou.length && changed) text += ` (${count(found.fixed[step])} fixed, ${count(found.broken[step])} broken)`;
  return `${text}. Free energy ${nats(free[step])}, ${nats(Math.abs(fall))} ${fall >= 0 ? "less" : "more"} than before${score}.`;
}

/** What the frame shows. */
export function caption(view, name, step) {
  const when = step ? `after step ${step}` : "at first";
  if (view === "labels") return `The likeliest class of each pixel ${when}.`;
  if (view === "marginal") return `The probability of “${name}” ${when}.`;
  if (!step) return "Nothing is sent and nothing changes before step 1.";
  if (view === "changes") return `The pixels to which step ${step} gave another class.`;
  const who = view === "appearance" ? "near pixels of like colour" : "near pixels of any colour";
  return `How much ${who} spoke for “${name}” in step ${step}, before the weight.`;
}

/** Places moved up, in their order, until none is nearer than `gap` to the one before it. */
export function spread(places, gap) {
  const order = places.map((place, i) => i).sort((a, b) => places[a] - places[b]);
  const moved = [];
  let floor = -Infinity;
  for (const i of order) moved[i] = floor = Math.max(places[i], floor + gap);
  return moved;
}

/** Round numbers for an axis from low to high, some five of them. */
export function ticks(low, high) {
  const raw = (high - low) / 5 || 1, ten = 10 ** Math.floor(Math.log10(raw));
  const step = ten * [1, 2, 5, 10].find((m) => m * ten >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k <= high / step + 1e-9; k++) {
    found.push(Number((k * step).toPrecision(12)));  // 0.6 rather than 3 * 0.2
  }
  return found;
}

// ---- the picture --------------------------------------------------------------------------------

const PACE = 800;  // milliseconds of a step when playing

function render({ model, el }) {
  const [height, width] = model.get("size"), sheets = model.get("sheets"), found = model.get("numbers");
  const curves = model.get("curves"), names = model.get("names"), last = found.free.length - 1;
  const choices = Object.keys(sheets).filter((id) => id.startsWith("marginal/")).map((id) => id.slice(9));
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null, expected = null;

  const state = () => ({
    step: clamp(model.get("step"), 0, last),
    view: VIEWS.some(({ key }) => key === model.get("view")) ? model.get("view") : "labels",
    name: choices.includes(model.get("class_name")) ? model.get("class_name") : choices[0],
  });
  const go = (step) => commit(model, { step: clamp(step, 0, last) });

  // -- playing: one step at once, then one each PACE; whatever else moves the step stops it
  const halt = () => { clearInterval(timer); timer = null; };
  const forward = () => {
    expected = state().step + 1;
    go(expected);
    if (expected >= last) { halt(); draw(); }
  };
  const play = () => {
    if (timer) { halt(); draw(); return; }
    if (still.matches) { go(state().step < last ? last : 0); return; }
    if (state().step >= last) { expected = 0; go(0); } else forward();
    if (state().step < last) timer = setInterval(forward, PACE);
    draw();
  };

  // -- controls
  const bar = presetBar(VIEWS, ({ key }) => key === state().view, ({ key }) => commit(model, { view: key }));
  bar.root.setAttribute("aria-label", "what to show");
  const chosen = h("select", {
    class: "dl-select", "aria-label": "class", ...KEYS,
    onchange: () => commit(model, { class_name: chosen.value }),
  }, ...choices.map((name) => h("option", { value: name }, name)));
  const ofClass = h("label", { class: "dl-mf-class" }, "of ", chosen);
  bar.root.append(ofClass);
  const truth = h("input", {
    type: "checkbox", "aria-label": "show the truth in place of the image", ...KEYS,
    onchange: () => commit(model, { show_truth: truth.checked }),
  });
  const button = (label, text, act) => h("button", { type: "button", class: "dl-pill", "aria-label": label, title: label, onclick: act, ...KEYS }, text);
  const back = button("previous step", "◀", () => go(state().step - 1));
  const next = button("next step", "▶", () => go(state().step + 1));
  const player = button("play", "Play", play);
  const slider = h("input", {
    type: "range", min: 0, max: last, step: 1, "aria-label": "step", ...KEYS, oninput: () => go(Number(slider.value)),
  });
  const at = h("b");

  // -- pictures
  const frame = (...inside) => s("svg", { class: "dl-mf-frame", viewBox: `0 0 ${width} ${height}`, role: "img" }, ...inside);
  const picture = (href, frames = 1) => s("image", { href, width, height: height * frames, preserveAspectRatio: "none" });
  const photo = picture(model.get("photo")), trueMap = picture(model.get("truth"));
  const layers = Object.fromEntries(Object.entries(sheets).map(([key, href]) => [key, picture(href, last + 1)]));
  const left = frame(photo, ...(model.get("truth") ? [trueMap] : []));
  const right = frame(picture(model.get("ground")), ...Object.values(layers));
  const leftName = h("div", { class: "dl-mf-name" }), rightName = h("div", { class: "dl-mf-name" });
  const key = h("div", { class: "dl-key" });
  const says = h("p", { class: "dl-mf-caption" });
  const chart = s("svg", { class: "dl-mf-chart", role: "img" }), room = h("div", {}, chart);
  const numbers = h("div", { class: "dl-figures" });
  const say = h("p", { class: "dl-say", "aria-live": "polite" });
  const settings = model.get("settings");
  const root = h("div", { class: "dl dl-mf", role: "group", "aria-label": "mean-field replay" },
    bar.root,
    h("div", { class: "dl-mf-transport" }, back, player, next, slider, at),
    h("div", { class: "dl-mf-stage" },
      h("div", { class: "dl-mf-panel" }, leftName, left,
        model.get("truth") ? h("label", { class: "dl-mf-check" }, truth, "show the truth") : ""),
      h("div", { class: "dl-mf-panel" }, rightName, right, says, key),
      h("div", { class: "dl-mf-side" }, h("div", { class: "dl-mf-name" }, "energies, in nats from the start"), room, numbers)),
    say, settings ? h("p", { class: "dl-hint" }, settings) : "");
  el.append(root);

  let wide = Math.max(220, room.clientWidth || 300), toStep = null;
  function drawChart(step) {
    const tall = 190;
    const edge = { left: 50, right: 78, top: 8, bottom: 32 };
    const all = Object.values(curves).flat(), low = Math.min(...all), high = Math.max(...all, low + 1);
    const x = (t) => edge.left + (wide - edge.left - edge.right) * (last ? t / last : 0);
    const y = (v) => edge.top + (tall - edge.top - edge.bottom) * (high - v) / (high - low);
    toStep = (px) => Math.round(last * (px - edge.left) / (wide - edge.left - edge.right));
    const f = (v) => v.toFixed(1), entries = Object.entries(curves);
    const ends = spread(entries.map(([, values]) => y(values[last])), 15);
    const over = Math.max(0, Math.max(...ends) - (tall - edge.bottom + 4));
    let out = "";
    for (const v of ticks(low, high)) {
      out += `<path class="grid" d="M${edge.left} ${f(y(v))}H${wide - edge.right}"/>` +
        `<text class="tick" x="${edge.left - 6}" y="${f(y(v) + 4)}" text-anchor="end">${safe(signed(count(v)))}</text>`;
    }
    for (const t of ticks(0, last).filter(Number.isInteger)) out += `<text class="tick" x="${f(x(t))}" y="${tall - 16}" text-anchor="middle">${t}</text>`;
    out += `<text class="tick" x="${f(x(last / 2))}" y="${tall - 2}" text-anchor="middle">step</text>`;
    out += `<path class="mark" d="M${f(x(step))} ${edge.top}V${tall - edge.bottom}"/>`;
    entries.forEach(([name, values], i) => {
      const kind = name.replace("− ", "").replace(" ", "-");
      out += `<g class="${safe(kind)}"><path class="curve" d="${values.map((v, t) => `${t ? "L" : "M"}${f(x(t))} ${f(y(v))}`).join("")}"/>` +
        `<circle cx="${f(x(step))}" cy="${f(y(values[step]))}" r="3.5"/>` +
        `<text x="${wide - edge.right + 7}" y="${f(ends[i] - over + 4)}">${safe(name)}</text></g>`;
    });
    chart.setAttribute("viewBox", `0 0 ${wide} ${tall}`);
    chart.setAttribute("height", tall);
    chart.innerHTML = out;
    const told = entries.map(([name, values]) => `${name} ${nats(values[step])}`).join(", ");
    chart.setAttribute("aria-label", `Energies at step ${step}, from their start: ${told}.`);
  }

  function drawKey(view, step) {
    const swatch = (color, text) => `<span><i style="background:${safe(color)}"></i>${safe(text)}</span>`;
    if (view === "labels") key.innerHTML = names.map(([name, color]) => swatch(color, name)).join("");
    else if (view === "changes") {
      const rows = model.get("kinds").slice(found.miou.length ? 0 : 3);
      key.innerHTML = rows.map(([name, meaning, color]) => swatch(color, `${name}: ${meaning}`)).join("");
    } else {
      key.innerHTML = `<span>0 <i class="ramp" style="background:linear-gradient(90deg, ${model.get("ramp").map(safe).join(", ")})"></i> ${safe(String(model.get("tops")[view] ?? 1))}</span>`;
    }
  }

  const draw = perFrame(() => {
    const { step, view, name } = state();
    bar.show();
    const of = OF_A_CLASS.includes(view);
    ofClass.hidden = !of;
    if (chosen.value !== name) chosen.value = name;
    const shown = of ? `${view}/${name}` : view;
    for (const [id, layer] of Object.entries(layers)) {
      layer.setAttribute("display", id === shown ? "inline" : "none");
      layer.setAttribute("y", -step * height);
    }
    const told = model.get("truth") && model.get("show_truth");
    truth.checked = Boolean(told);
    trueMap.setAttribute("display", told ? "inline" : "none");
    leftName.textContent = told ? "truth" : "image";
    left.setAttribute("aria-label", told ? "the true label map" : "the image");
    rightName.textContent = VIEWS.find((v) => v.key === view).name + (of ? ` of ${name}` : "");
    const text = caption(view, name, step);
    says.textContent = text;
    right.setAttribute("aria-label", text);
    drawKey(view, step);
    back.disabled = step === 0;
    next.disabled = step === last;
    const act = timer ? "pause" : still.matches ? (step < last ? "to the last step" : "to the start") : step < last ? "play" : "play again";
    player.textContent = act[0].toUpperCase() + act.slice(1);
    player.setAttribute("aria-label", act);
    player.title = act;
    if (slider.value !== String(step)) slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${step} of ${last}`);
    at.textContent = `step ${step} of ${last}`;
    const rows = [[count(found.changed[step]), "pixels changed"], [nats(found.free[step]).replace(" nats", ""), "free energy"]];
    if (found.miou.length) rows.push([found.miou[step].toFixed(3), "mIoU"]);
    numbers.innerHTML = figures(rows);
    say.textContent = describe(found, step);
    drawChart(step);
  });

  chart.addEventListener("pointerdown", (event) => {
    const box = chart.getBoundingClientRect();
    go(toStep((event.clientX - box.left) * (chart.viewBox.baseVal.width / box.width)));
  });
  const watch = () => { if (timer && model.get("step") !== expected) halt(); };
  const stops = [listen(model, ["step"], watch), listen(model, ["step", "view", "class_name", "show_truth"], draw)];
  const sized = new ResizeObserver(([{ contentRect }]) => {  // JupyterLab measures 0 while it moves outputs
    if (contentRect.width) wide = Math.max(220, contentRect.width);
    draw();
  });
  sized.observe(room);
  still.addEventListener("change", draw);
  draw();
  return () => {
    halt();
    stops.forEach((stop) => stop());
    still.removeEventListener("change", draw);
    sized.disconnect();
    draw.cancel();
  };
}

export default { render };
