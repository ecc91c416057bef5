import { h, s, safe, clamp, perFrame, listen, commit, KEYS, presetBar } from "./common.js";

// ---- numbers, the same as in edge_scores.py (tests compare), and sentences -----------------------

/** Squared distance of each pixel to the nearest one of another class; 255 from `most` pixels on. */
export function distances(truth, size, most) {
  const near = [];
  for (let y = -most; y <= most; y++) {
    for (let x = -most; x <= most; x++) if ((x || y) && x * x + y * y <= most * most) near.push([x * x + y * y, y, x]);
  }
  near.sort((a, b) => a[0] - b[0]);
  return truth.map((label, i) => {
    const row = Math.floor(i / size), column = i % size;
    const hit = near.find(([, dy, dx]) => {
      const y = row + dy, x = column + dx;
      return y >= 0 && y < size && x >= 0 && x < size && truth[y * size + x] !== label;
    });
    return hit ? hit[0] : 255;
  });
}

/** The square of `side` pixels around a pixel, moved until it lies in the scene: top, left. */
export function corner(at, side, size) {
  return at.map((place) => clamp(place - Math.floor(side / 2), 0, size - side));
}

/** Pixels in the band, right ones, mIoU there; and pixels and right ones in the window. */
export function tally(labels, truth, squared, width, [top, left], side, size, classes) {
  const both = Array(classes).fill(0), either = Array(classes).fill(0);
  let right = 0, pixels = 0, here = 0, pixelsHere = 0;
  for (let i = 0; i < truth.length; i++) {
    if (squared[i] > width * width) continue;
    const t = truth[i], p = labels[i], row = Math.floor(i / size), column = i % size;
    const inside = row >= top && row < top + side && column >= left && column < left + side;
    pixels += 1;
    pixelsHere += inside;
    either[t] += 1;
    if (p === t) { right += 1; here += inside; both[t] += 1; } else either[p] += 1;
  }
  const found = both.flatMap((n, k) => (either[k] ? [n / either[k]] : []));
  return { right, pixels, miou: found.reduce((a, b) => a + b, 0) / found.length, here, pixels_here: pixelsHere };
}

const count = (value) => value.toLocaleString("en-US");
export const share = (right, pixels) => (pixels ? `${Math.floor(100 * right / pixels + 0.5)} %` : "–");

export function describe(seed, width, side, names, tallies) {
  const order = names.map((_, n) => n), first = tallies[0];
  const best = order.reduce((a, b) => (tallies[b].right > tallies[a].right ? b : a));
  const worst = order.reduce((a, b) => (tallies[b].right < tallies[a].right ? b : a));
  let text = `Scene ${seed}: ${count(first.pixels)} pixels lie within ${width} pixel${width > 1 ? "s" : ""} of a boundary. ` +
    `${names[best]} has ${share(tallies[best].right, first.pixels)} of them right`;
  if (names.length > 1) text += `, the most; ${names[worst]} ${share(tallies[worst].right, first.pixels)}, the fewest`;
  text += `. In this window of ${side} x ${side} pixels there are ${count(first.pixels_here)}`;
  if (first.pixels_here) text += `; right are ${names.map((name, n) => `${name} ${share(tallies[n].here, first.pixels_here)}`).join(", ")}`;
  return `${text}.`;
}

/** A path between pixels of two classes; straight runs are one line. */
export function outline(label, size) {
  let path = "";
  const differ = (a, b) => label[a] !== label[b];
  for (let n = 1; n < size; n++) {
    for (let from = 0; from < size; from++) {
      if (!differ((n - 1) * size + from, n * size + from)) continue;
      let to = from + 1;
      while (to < size && differ((n - 1) * size + to, n * size + to)) to++;
      path += `M${from} ${n}H${to}`;
      from = to;
    }
    for (let from = 0; from < size; from++) {
      if (!differ(from * size + n - 1, from * size + n)) continue;
      let to = from + 1;
      while (to < size && differ(to * size + n - 1, to * size + n)) to++;
      path += `M${n} ${from}V${to}`;
      from = to;
    }
  }
  return path;
}

/** All numbers and words of one state, for the tests. */
export function analyse(scene, names, classes, size, seed, at, side, width) {
  const truth = unrun(scene.truth), squared = distances(truth, size, 8), place = corner(at, side, size);
  const tallies = scene.maps.map((map) => tally(unrun(map), truth, squared, width, place, side, size, classes));
  return { corner: place, tallies, text: describe(seed, width, side, names, tallies) };
}

// ---- the picture --------------------------------------------------------------------------------

const MOST = 8, NEAR = 204, FAR = 71;  // the densities of draw/boundary.py, of 255

function render({ model, el }) {
  const names = model.get("models"), size = model.get("size"), classes = model.get("classes"), kinds = model.get("kinds");
  const palette = classes.map(([, color]) => rgb(color)), wrongs = kinds.map((row) => rgb(row[2]));
  const loaded = new Map();
  let d = null;

  const scene = () => {
    const all = model.get("scenes"), seed = String(model.get("seed"));
    if (!(seed in all)) return d ?? load(Object.keys(all)[0], all);
    return load(seed, all);
  };
  const load = (seed, all) => {
    if (loaded.get(seed)?.source !== all[seed]) {
      const source = all[seed], truth = unrun(source.truth);
      loaded.set(seed, { ...source, source, seed: Number(seed), truth, squared: distances(truth, size, MOST), maps: source.maps.map(unrun), path: outline(truth, size) });
    }
    return loaded.get(seed);
  };
  const state = () => {
    d = scene();
    const side = clamp(model.get("window"), 17, 129), width = clamp(model.get("width"), 1, MOST);
    const at = model.get("at").map((place) => clamp(place, 0, size - 1));
    return { side, width, at, place: corner(at, side, size), errors: model.get("view") === "errors" };
  };

  // -- controls
  const own = Object.keys(model.get("scenes")).map(Number);
  const start = (seed) => ({ seed, ...(String(seed) in model.get("scenes") ? { at: model.get("scenes")[seed].spots[0] ?? [size >> 1, size >> 1] } : {}) });
  const bar = presetBar(own.map((seed) => ({ name: `scene ${seed}`, seed })), ({ seed }) => seed === model.get("seed"), ({ seed }) => commit(model, start(seed)));
  bar.root.setAttribute("aria-label", "scenes that are here");
  const box = seedBox(model, (seed) => commit(model, start(seed)));
  const views = presetBar([{ name: "labels" }, { name: "errors" }], ({ name }) => name === model.get("view"), ({ name }) => commit(model, { view: name }));
  views.root.setAttribute("aria-label", "what to show");
  const go = (step) => {
    const { at } = state(), here = d.spots.findIndex(([y, x]) => y === at[0] && x === at[1]);
    const next = here < 0 ? (step > 0 ? 0 : d.spots.length - 1) : (here + step + d.spots.length) % d.spots.length;
    if (d.spots.length) commit(model, { at: d.spots[next] });
  };
  const button = (label, text, step) => h("button", { type: "button", class: "dl-pill", "aria-label": label, title: label, onclick: () => go(step), ...KEYS }, text);
  const spot = h("span");
  const range = (name, trait, min, max, step) => {
    const said = h("output"), input = h("input", {
      type: "range", min, max, step, "aria-label": name, ...KEYS, oninput: () => commit(model, { [trait]: Number(input.value) }),
    });
    return { input, said, root: h("label", {}, name, input, said) };
  };
  const zoom = range("window", "window", 17, 129, 4), band = range("band", "width", 1, MOST, 1);

  // -- pictures
  const svg = (attributes = {}) => s("svg", { viewBox: `0 0 ${size} ${size}`, ...attributes });
  const whole = h("img", { alt: "the scene" }), frame = svg({ tabindex: 0, role: "img", ...KEYS });
  const overview = h("div", { class: "dl-bm-plane dl-bm-whole" }, h("div", { class: "dl-bm-lens" }, whole, frame));
  const make = (name) => {
    const ground = h("img", { alt: "", class: name === "image" ? "" : "dl-bm-grey" }), canvas = h("canvas", { width: size, height: size, role: "img", "aria-label": `${name}, magnified` });
    const lines = svg({ "aria-hidden": "true" }), lens = h("div", { class: "dl-bm-lens" }, ground, canvas, lines);
    const told = h("div", { class: "dl-bm-told" }), plane = h("div", { class: "dl-bm-plane" }, lens);
    plane.addEventListener("click", (event) => {
      const box = plane.getBoundingClientRect(), { side, place } = state();
      const along = (value, first, length, from) => clamp(from + Math.floor(side * (value - first) / length), 0, size - 1);
      commit(model, { at: [along(event.clientY, box.top, box.height, place[0]), along(event.clientX, box.left, box.width, place[1])] });
    });
    return { name, ground, canvas, lines, lens, told, root: h("div", {}, h("div", { class: "dl-bm-name" }, name), plane, told) };
  };
  const panels = ["image", "truth", ...names].map(make);
  const key = h("div", { class: "dl-key" }), say = h("p", { class: "dl-say", "aria-live": "polite" });
  const root = h("div", { class: "dl dl-bm", role: "group", "aria-label": "boundary microscope" },
    h("div", { class: "dl-bm-bar" }, bar.root, box.root, views.root,
      h("span", { class: "dl-presets" }, button("previous edge", "◀", -1), button("next edge", "next edge ▶", 1), spot), zoom.root, band.root),
    h("div", { class: "dl-bm-stage" },
      h("div", {}, h("div", { class: "dl-bm-name" }, "scene"), overview, key), h("div", { class: "dl-bm-panels" }, ...panels.map((panel) => panel.root))),
    say,
    h("p", { class: "dl-hint" }, "Click on a picture to move the window there, or focus the scene and use the arrow keys. Labels are dense within the band; the line is the true boundary, dots are wrong pixels of the band. " +
      "Under each network: the share of the scene's band that is right, that of the window's, and the mIoU in the scene's."));
  el.append(root);

  // -- drawing
  const lined = (path) => `<path class="casing" d="${path}"/><path class="line" d="${path}"/>`;

  function paint({ canvas, lines }, labels, { width, errors }, judged) {
    const context = canvas.getContext("2d"), pixels = context.createImageData(size, size);
    let dots = "";
    labels?.forEach((p, i) => {
      const near = d.squared[i] <= width * width, t = d.truth[i], wrong = near && p !== t;
      if (errors && judged) {
        if (wrong) pixels.data.set([...wrongs[p === 0 ? 0 : t === 0 ? 1 : 2], 230], 4 * i);
        else if (near) pixels.data.set([255, 255, 255, 128], 4 * i);
        return;
      }
      if (near || p) pixels.data.set([...palette[p], near ? NEAR : FAR], 4 * i);
      if (wrong && judged) dots += `M${i % size + 0.5} ${Math.floor(i / size) + 0.5}h0`;
    });
    context.putImageData(pixels, 0, 0);
    lines.innerHTML = lined(d.path) + (dots ? `<path class="dots" d="${dots}"/>` : "");
  }

  let painted = null;
  const draw = perFrame(() => {
    const now = state(), { side, width, at, place, errors } = now;
    bar.show();
    views.show();
    box.show(d.seed);
    [[zoom, side, `${side} px`], [band, width, `${width} px`]].forEach(([control, value, text]) => {
      if (control.input.value !== String(value)) control.input.value = value;
      control.said.textContent = text;
      control.input.setAttribute("aria-valuetext", text);
    });
    const here = d.spots.findIndex(([y, x]) => y === at[0] && x === at[1]);
    spot.textContent = here < 0 ? `${d.spots.length} to visit` : `${here + 1} of ${d.spots.length}`;
    const made = [d.seed, width, errors, d.source];
    if (!painted || made.some((value, n) => value !== painted[n])) {  // else the lens alone moves
      painted = made;
      whole.src = d.photo;
      panels.forEach((panel, n) => {
        panel.ground.src = d.photo;
        paint(panel, [null, d.truth, ...d.maps][n], now, n > 1);
      });
    }
    const scale = 100 * size / side;
    panels.forEach(({ lens }) => {
      lens.style.width = lens.style.height = `${scale}%`;
      lens.style.top = `${-100 * place[0] / side}%`;
      lens.style.left = `${-100 * place[1] / side}%`;
    });
    const edges = `x="${place[1]}" y="${place[0]}" width="${side}" height="${side}"`;
    frame.innerHTML = `${lined(d.path)}<rect class="casing" ${edges}/><rect class="line" ${edges}/>`;
    const tallies = d.maps.map((map) => tally(map, d.truth, d.squared, width, place, side, size, classes.length));
    const best = Math.max(...tallies.map((found) => found.right)), bestHere = Math.max(...tallies.map((found) => found.here));
    tallies.forEach((found, n) => {
      const bold = (part, of, top) => `<b class="${of && part === top ? "best" : ""}">${share(part, of)}</b>`;
      panels[n + 2].told.innerHTML = `<div>band ${bold(found.right, found.pixels, best)}, here ${bold(found.here, found.pixels_here, bestHere)}</div>` +
        `<div>mIoU of the band ${found.miou.toFixed(3)}</div>`;
    });
    panels[1].told.innerHTML = `<div>band ${count(tallies[0].pixels)} pixels,</div><div>here ${count(tallies[0].pixels_here)}</div>`;
    const seen = new Set();
    [d.truth, ...d.maps].forEach((map) => {
      for (let row = place[0]; row < place[0] + side; row++) {
        for (let column = place[1]; column < place[1] + side; column++) seen.add(map[row * size + column]);
      }
    });
    const swatch = (color, text) => `<span><i style="background:${safe(color)}"></i>${safe(text)}</span>`;
    key.innerHTML = errors ? kinds.map(([name, meaning, color]) => swatch(color, `${name}: ${meaning}`)).join("")
      : classes.flatMap(([name, color], k) => (seen.has(k) ? [swatch(color, name)] : [])).join("");
    const text = describe(d.seed, width, side, names, tallies);
    say.textContent = text;
    frame.setAttribute("aria-label", `The scene; the window begins at row ${place[0]}, column ${place[1]}. Arrow keys move it.`);
  });

  overview.addEventListener("click", (event) => {
    const box = overview.getBoundingClientRect();
    commit(model, { at: [[event.clientY, box.top, box.height], [event.clientX, box.left, box.width]].map(([value, first, length]) => clamp(Math.floor(size * (value - first) / length), 0, size - 1)) });
  });
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-2, 0], ArrowDown: [2, 0], ArrowLeft: [0, -2], ArrowRight: [0, 2] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    const { side, place } = state();  // from the window's middle, so that no press at the rim is lost
    commit(model, { at: place.map((first, axis) => clamp(first + Math.floor(side / 2) + step[axis], 0, size - 1)) });
  });
  const stop = listen(model, ["scenes", "seed", "at", "window", "width", "view", "answer"], draw);
  box.knock();
  draw();
  return () => { stop(); draw.cancel(); };
}

export default { render };
