import { h, s, safe, clamp, plural, perFrame, listen, commit, KEYS, presetBar, figures } from "./common.js";

// ---- numbers, the same as in branch_scores.py (tests compare), and sentences --------------------------

const BITS = 14;

/** Base64 of numbers of 14 bits, each above the low of its map. */
export function unpack(text, lows, cells) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), values = new Int32Array(lows.length * cells);
  for (let i = 0; i < values.length; i++) {
    const bit = BITS * i, at = bit >> 3;
    const near = packed[at] | (packed[at + 1] << 8) | (packed[at + 2] << 16);
    values[i] = ((near >> (bit & 7)) & ((1 << BITS) - 1)) + lows[Math.floor(i / cells)];
  }
  return values;
}

/** A scene as it is sent, ready for use. */
export function load(data) {
  const { classes, map, lows, size } = data, cells = classes.length * map * map;
  const codes = unpack(data.codes, lows, cells);
  const of = (branch) => codes.subarray(branch * cells, (branch + 1) * cells);
  return { ...data, label: unrun(data.label), owner: unrun(data.owner), cells, of, factor: (size - 1) / (map - 1) };
}

/** The sum of the maps of the branches that are on: K x map x map. */
export function total(d, on) {
  const sum = new Int32Array(d.cells);
  on.forEach((lit, branch) => {
    if (lit) d.of(branch).forEach((code, i) => { sum[i] += code; });
  });
  return sum;
}

/** The greatest class of each pixel after bilinear enlargement with corners aligned. */
export function labelsOf(sum, count, map, factor) {
  const size = (map - 1) * factor + 1, labels = new Uint8Array(size * size), row = new Int32Array(count * map);
  for (let y = 0; y < size; y++) {
    const top = Math.floor(y / factor), low = Math.min(top + 1, map - 1), down = y % factor;
    for (let k = 0; k < count; k++) {
      for (let x = 0; x < map; x++) {
        const at = k * map * map + x;
        row[k * map + x] = (factor - down) * sum[at + top * map] + down * sum[at + low * map];
      }
    }
    for (let x = 0; x < size; x++) {
      const left = Math.floor(x / factor), right = Math.min(left + 1, map - 1), over = x % factor;
      let best = -Infinity;
      for (let k = 0; k < count; k++) {
        const value = (factor - over) * row[k * map + left] + over * row[k * map + right];
        if (value > best) { best = value; labels[y * size + x] = k; }
      }
    }
  }
  return labels;
}

const VOID = 255;

/** mIoU over the classes there or predicted. */
export function miou(labels, truth, count) {
  const both = Array(count).fill(0), either = Array(count).fill(0);
  truth.forEach((t, i) => {
    if (t === VOID) return;
    const p = labels[i];
    either[t] += 1;
    if (p === t) both[t] += 1; else either[p] += 1;
  });
  const found = both.flatMap((n, k) => (either[k] ? [n / either[k]] : []));
  return found.reduce((a, b) => a + b, 0) / found.length;
}

/** What the branches that are on say together. */
export function answer(d, on) {
  const count = d.classes.length, labels = labelsOf(total(d, on), count, d.map, d.factor);
  const right = {}, all = {};
  d.owner.forEach((owner, i) => {
    if (d.label[i] === VOID) return;
    all[owner] = (all[owner] ?? 0) + 1;
    if (labels[i] === d.label[i]) right[owner] = (right[owner] ?? 0) + 1;
  });
  const shares = d.shapes.map(([index]) => (right[index + 1] ?? 0) / all[index + 1]);
  return { labels, miou: miou(labels, d.label, count), shares };
}

/** The class of the greatest score at a unit, and how far the next is behind. */
export function says(d, sum, [i, j]) {
  const at = d.classes.map((_, k) => sum[(k * d.map + i) * d.map + j]);
  const best = at.indexOf(Math.max(...at));
  return [best, at[best] - Math.max(...at.filter((_, k) => k !== best))];
}

/** Where three taps meet the map along one axis. */
export function taps(unit, rate, count) {
  return [unit - rate, unit, unit + rate].filter((at) => at >= 0 && at < count);
}

const percent = (share) => Math.floor(100 * share + 0.5);
const listed = (items) => (items.length > 1 ? `${items.slice(0, -1).join(", ")} and ${items.at(-1)}` : String(items[0]));

export function describe(found, d, rates, on) {
  const lit = on.flatMap((lights, n) => (lights ? [n] : [])), many = lit.length > 1;
  if (!lit.length) return "No branch is on, so all scores are 0 and no pixel gets a class.";
  let text = lit.length === on.length ? "All branches" : `Only branch${many ? "es" : ""} ${listed(lit.map((n) => n + 1))}`;
  text += `, rate${many ? "s" : ""} ${listed(lit.map((n) => rates[n]))}: mIoU ${found.miou.toFixed(3)}.`;
  const lost = d.shapes.flatMap(([, label, radius], n) => (found.shares[n] < 0.5
    ? [`the ${d.classes[label]} of radius ${radius.toFixed(1)} (${percent(found.shares[n])} % right)`] : []));
  const kept = d.shapes.length - lost.length;
  text += ` Of ${plural(d.shapes.length, "shape")} ${kept} ${kept === 1 ? "has" : "have"} at least half of their pixels right`;
  return text + (lost.length ? `; lost: ${listed(lost)}.` : ".");
}

export function describeAt(d, on, unit) {
  const [y, x] = unit.map((at) => at * d.factor), truth = d.label[y * d.size + x];
  const name = ([best, ahead]) => (ahead ? d.classes[best] : "nothing");
  const alone = on.map((_, n) => name(says(d, d.of(n), unit)));
  const known = truth === VOID ? "not given, because it lies on an outline" : d.classes[truth];
  return `At row ${y}, column ${x} the true class is ${known}. The branches that are on say ` +
    `${name(says(d, total(d, on), unit))}; alone they say ${listed(alone)}.`;
}

/** All of the above for one state, for the tests. */
export function analyse(data, rates, on, unit) {
  const d = load(data), found = answer(d, on);
  return { labels: found.labels, shares: found.shares, miou: found.miou, text: describe(found, d, rates, on), at: describeAt(d, on, unit) };
}

// ---- the picture --------------------------------------------------------------------------------

/** Colour a canvas: `colors[value]` is [r, g, b, a], none is clear. */
function paint(canvas, values, colors) {
  const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => { if (colors[value]) pixels.data.set(colors[value], 4 * i); });
  context.putImageData(pixels, 0, 0);
}

function render({ model, el }) {
  const rates = model.get("rates"), palette = model.get("palette").map(rgb);
  const kinds = model.get("kinds"), branches = rates.length;
  let d = null, source = null, alone = [], chips = [];

  const state = () => {
    if (source !== model.get("data")) {
      [source, alone] = [model.get("data"), []];
      d = load(source);
      chips = d.shapes.map(([, label, radius, place]) => h("button", {
        type: "button", class: "dl-pill", title: `go to the ${d.classes[label]} of radius ${radius.toFixed(1)}`, onclick: () => choose(place), ...KEYS,
      }, h("i", { style: `background:${model.get("palette")[label]}` }), `${d.classes[label]} r ${radius.toFixed(1)}: `, h("b")));
      shapes.replaceChildren(...chips);
    }
    return {
      on: rates.map((_, n) => Boolean(model.get("on")[n])),
      unit: model.get("unit").map((at) => clamp(at, 0, d.map - 1)),
    };
  };
  const same = (a, b) => a.every((value, n) => value === b[n]);
  const choose = (unit) => commit(model, { unit });
  const shapes = h("div", { class: "dl-presets dl-as-shapes", role: "group", "aria-label": "shapes, the smallest first" });

  // -- controls
  const box = seedBox(model, (seed) => commit(model, { seed }));
  const views = presetBar([{ name: "labels" }, { name: "errors" }], ({ name }) => name === model.get("view"), ({ name }) => commit(model, { view: name }));
  views.root.setAttribute("aria-label", "what to show of the answer");

  // -- pictures
  const size = model.get("data").size;
  const canvas = (label) => h("canvas", { width: size, height: size, role: "img", "aria-label": label });
  const photo = h("img", { alt: "the scene" }), marks = s("svg", { viewBox: `0 0 ${size} ${size}`, tabindex: 0, role: "img", ...KEYS });
  const grounds = [], plane = (...parts) => { const ground = h("img", { alt: "" }); grounds.push(ground); return h("div", { class: "dl-as-plane" }, ground, ...parts); };
  const truth = canvas("the true labels"), now = canvas("what the branches that are on say");
  const spots = [0, 1].map(() => s("svg", { viewBox: `0 0 ${size} ${size}`, "aria-hidden": "true" }));
  const nowName = h("span");
  const panel = (title, inside, ...more) => h("div", { class: "dl-as-panel" }, h("div", { class: "dl-as-title" }, title, ...more), inside);
  const scenePlane = h("div", { class: "dl-as-plane" }, photo, marks);
  const planes = [scenePlane, plane(truth, spots[0]), plane(now, spots[1])];

  const cards = rates.map((rate, n) => {
    const box = h("input", { type: "checkbox", "aria-label": `branch ${n + 1} on`, ...KEYS,
      onchange: () => commit(model, { on: state().on.map((lit, m) => (m === n ? box.checked : lit)) }) });
    const map = canvas(`what branch ${n + 1} says alone`), note = h("div", { class: "dl-as-note" });
    const spot = s("svg", { viewBox: `0 0 ${size} ${size}`, "aria-hidden": "true" });
    const face = plane(map, spot);
    const card = h("div", { class: "dl-as-card", role: "group", "aria-label": `branch ${n + 1}`,
      onpointerenter: () => root.setAttribute("data-hot", n), onpointerleave: () => root.removeAttribute("data-hot") },
    h("div", { class: "dl-as-head" }, h("label", {}, box, h("b", {}, ` Branch ${n + 1}`)), h("span", {}, `rate ${rate}`)),
    h("div", { class: "dl-as-body" }, face, note));
    return { root: card, box, map, note, spot, face };
  });

  const numbers = h("div", { class: "dl-figures" }), key = h("div", { class: "dl-key" });
  const say = h("p", { class: "dl-say", "aria-live": "polite" }), here = h("p", { class: "dl-say" });
  const root = h("div", { class: "dl dl-as", role: "group", "aria-label": "ASPP explorer" },
    h("div", { class: "dl-as-bar" }, box.root),
    h("div", { class: "dl-as-stage" },
      panel("image: what the taps read", planes[0]), panel("truth", planes[1]), panel(nowName, planes[2], views.root)),
    key,
    h("div", { class: "dl-as-cards" }, ...cards.map((card) => card.root)),
    h("div", { class: "dl-as-foot" }, numbers, h("div", {}, h("div", { class: "dl-as-title" }, "shapes by radius: share right"), shapes)),
    say, here,
    h("p", { class: "dl-hint" }, "Click on a picture to choose a position, or use the arrow keys on the image; point at a branch to see its taps alone."));
  el.append(root);

  // -- drawing
  const cross = ([y, x]) => {
    const path = `M${x - 12} ${y}H${x - 4}M${x + 4} ${y}H${x + 12}M${x} ${y - 12}V${y - 4}M${x} ${y + 4}V${y + 12}`;
    return `<path class="casing" d="${path}"/><path class="cross" d="${path}"/>`;
  };

  function drawTaps({ on, unit }) {
    const of = new Map();  // taps that several branches share are drawn once
    rates.forEach((rate, n) => {
      if (!on[n]) return;
      for (const i of taps(unit[0], rate, d.map)) {
        for (const j of taps(unit[1], rate, d.map)) {
          const id = `${i},${j}`, found = of.get(id) ?? { i, j, rate, by: "" };
          of.set(id, { ...found, by: `${found.by} of${n}` });
        }
      }
    });
    marks.innerHTML = [...of.values()].map(({ i, j, rate, by }) => {
      const [y, x] = [i * d.factor + 0.5, j * d.factor + 0.5];
      if (i === unit[0] && j === unit[1]) return `<circle class="middle" cx="${x}" cy="${y}" r="6"/>`;
      return `<g class="${by.trim()}"><circle class="tap" cx="${x}" cy="${y}" r="9"/><text x="${x}" y="${y + 4}" text-anchor="middle">${rate}</text></g>`;
    }).join("");
  }

  const colors = (alpha) => ({ ...palette.map((color, k) => (k ? [...color, Math.round(255 * alpha)] : null)), [VOID]: [255, 255, 255, 150] });
  const outlined = (labels) => labels.map((value, i) => (d.label[i] === VOID ? VOID : value));

  const draw = perFrame(() => {
    const now_ = state(), { on, unit } = now_, found = answer(d, on);
    views.show();
    box.show(d.seed);
    photo.src = d.photo;
    grounds.forEach((ground) => { ground.src = d.ground; });
    drawTaps(now_);
    marks.setAttribute("aria-label", `The scene. ${describeAt(d, on, unit)} Arrow keys choose another position.`);
    paint(truth, d.label, colors(0.75));
    const errors = model.get("view") === "errors";
    if (errors) {
      const kind = found.labels.map((p, i) => { const t = d.label[i]; return t === VOID ? VOID : p === t ? 0 : p === 0 ? 1 : t === 0 ? 2 : 3; });
      paint(now, kind, { ...kinds.map((row) => [...rgb(row[2]), 217]).reduce((all, color, n) => ({ ...all, [n + 1]: color }), {}), [VOID]: [255, 255, 255, 110] });
    } else paint(now, outlined(found.labels), colors(0.75));
    const at = unit.map((place) => place * d.factor + 0.5), mark = cross(at);
    spots.forEach((spot) => { spot.innerHTML = mark; });
    nowName.textContent = on.every(Boolean) ? "all branches" : `${on.filter(Boolean).length} of ${branches} branches`;
    const swatch = (color, name) => `<span><i style="background:${safe(color)}"></i>${safe(name)}</span>`;
    const seen = new Set([...d.label, ...found.labels]);
    key.innerHTML = errors ? kinds.map(([name, meaning, color]) => swatch(color, `${name}: ${meaning}`)).join("")
      : d.classes.flatMap((name, k) => (k && seen.has(k) ? [swatch(model.get("palette")[k], name)] : [])).join("") + swatch("#ffffff", "true outline");
    cards.forEach((card, n) => {
      const rate = rates[n];
      if (!alone[n]) {
        const labels = labelsOf(d.of(n), d.classes.length, d.map, d.factor);
        alone[n] = { labels, miou: miou(labels, d.label, d.classes.length) };
      }
      card.box.checked = on[n];
      card.root.classList.toggle("off", !on[n]);
      paint(card.map, outlined(alone[n].labels), colors(0.75));
      card.spot.innerHTML = mark;
      const [best, ahead] = says(d, d.of(n), unit);
      const met = taps(unit[0], rate, d.map).length * taps(unit[1], rate, d.map).length;
      card.note.innerHTML = `<div>here <b>${safe(d.classes[best])}</b></div><div title="its score is that far above the next one's">ahead by ${(ahead * d.step).toFixed(1)}</div>` +
        `<div title="${rate * d.factor} px apart; the others meet padding">${met} of 9 taps</div>` +
        `<div title="of this branch alone">mIoU <b>${alone[n].miou.toFixed(3)}</b></div>`;
    });
    chips.forEach((chip, n) => {
      chip.classList.toggle("lost", found.shares[n] < 0.5);
      chip.setAttribute("aria-pressed", same(d.shapes[n][3], unit));
      chip.lastChild.textContent = `${percent(found.shares[n])} %`;
    });
    alone.full ??= answer(d, rates.map(() => true)).miou;
    numbers.innerHTML = figures([[on.some(Boolean) ? found.miou.toFixed(3) : "–", "mIoU now", "field"], [alone.full.toFixed(3), "all branches"]]);
    say.textContent = describe(found, d, rates, on);
    here.textContent = describeAt(d, on, unit);
  });

  const pick = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    state();
    const place = (value, start, length) => clamp(Math.round(((value - start) / length * d.size - 0.5) / d.factor), 0, d.map - 1);
    choose([place(event.clientY, box.top, box.height), place(event.clientX, box.left, box.width)]);
  };
  [...planes, ...cards.map((card) => card.face)].forEach((face) => face.addEventListener("click", pick));
  marks.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    choose(state().unit.map((at, axis) => clamp(at + step[axis], 0, d.map - 1)));
  });
  const stop = listen(model, ["data", "on", "unit", "view", "seed", "answer"], draw);
  box.knock();
  draw();
  return () => { stop(); draw.cancel(); };
}

export default { render };
