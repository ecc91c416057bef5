import { h, s, safe, clamp, signed, perFrame, listen, commit, KEYS, presetBar, figures } from "./common.js";

// ---- the numbers: the same as receptive_field.ReceptiveField in Python, which the tests compare --
// A field is [name, kind, size, stride, padding, map], the last four as [vertical, horizontal].

/** The pixels that unit (i, j) sees, padding counted: [[top, bottom], [left, right]]. */
export function region(field, unit) {
  const [, , size, stride, padding] = field;
  return [0, 1].map((axis) => {
    const low = unit[axis] * stride[axis] - padding[axis];
    return [low, low + size[axis] - 1];
  });
}

/** The middle of what a unit sees; may lie between pixels. */
export function center(field, unit) {
  return region(field, unit).map(([low, high]) => (low + high) / 2);
}

/** The unit whose field is centred nearest to a point. */
export function nearest(field, point) {
  const [, , size, stride, padding, map] = field;
  return [0, 1].map((axis) => {
    const place = (point[axis] + padding[axis] - (size[axis] - 1) / 2) / stride[axis];
    return clamp(Math.round(place), 0, map[axis] - 1);
  });
}

/** Share of a unit's field that lies outside the picture, in per cent. */
export function outside(field, unit, photo) {
  const inside = region(field, unit).map(([low, high], axis) =>
    Math.max(0, Math.min(high, photo[axis] - 1) - Math.max(low, 0) + 1));
  const all = field[2][0] * field[2][1];
  return Math.floor((100 * (all - inside[0] * inside[1])) / all + 0.5);
}

/** What the unit sees, in a sentence. */
export function describe(network, field, unit, photo) {
  const [rows, columns] = region(field, unit).map(([low, high]) => `${signed(low)} to ${signed(high)}`);
  const off = outside(field, unit, photo);
  return `Unit (${unit.join(", ")}) of ${network}, ${field[0]}, sees ${field[2].join("×")} pixels: rows ${rows}, ` +
    `columns ${columns}${off ? `; ${off} % of that is outside the picture` : ""}.`;
}

// ---- the picture --------------------------------------------------------------------------------

const TALL = 480;  // pixels, at most
let made = 0;

function render({ model, el }) {
  const id = `dl-fp-${made++}-${Math.random().toString(36).slice(2, 7)}`;
  const fields = model.get("fields"), photo = model.get("size"), image = model.get("photo");
  const networks = Object.keys(fields);
  let hover = null, toPhoto = null;

  const state = () => {
    const network = networks.includes(model.get("network")) ? model.get("network") : networks[0];
    const table = fields[network];
    let depth = table.findIndex(([name]) => name === model.get("layer"));
    if (depth < 0) depth = table.length - 1;
    const field = table[depth], map = field[5];
    const unit = (model.get("unit") ?? map.map((n) => n >> 1)).map((u, axis) => clamp(u, 0, map[axis] - 1));
    return { network, table, depth, field, unit };
  };
  /** Another layer or network looks at the same place. */
  const choose = (network, layer) => {
    const { field, unit } = state();
    const next = fields[network].find(([name]) => name === layer) ?? fields[network].at(-1);
    const keep = model.get("unit") === null ? null : nearest(next, center(field, unit));
    commit(model, { network, layer: next[0], unit: keep });
  };

  const bar = presetBar(networks.map((name) => ({ name })), ({ name }) => name === state().network,
    ({ name }) => choose(name, null));
  const scene = s("svg", { class: "dl-fp-scene", tabindex: 0, role: "img", ...KEYS });
  const depthBars = s("svg", { class: "dl-fp-depth", height: 52, "aria-hidden": "true" });
  const slider = h("input", {
    type: "range", min: 0, step: 1, "aria-label": "layer", ...KEYS,
    oninput: () => { const { network, table } = state(); choose(network, table[slider.value][0]); },
  });
  const name = h("div", { class: "dl-fp-name" });
  const numbers = h("div", { class: "dl-figures" });
  const crop = s("svg", { class: "dl-fp-crop", role: "img", "aria-label": "the part of the photo that the unit sees" });
  const say = h("p", { class: "dl-say", "aria-live": "polite" });
  const root = h("div", { class: "dl dl-fp", role: "group", "aria-label": "field-on-photo explorer" },
    bar.root,
    h("div", { class: "dl-fp-stage" },
      h("div", { class: "dl-fp-left" }, scene, h("p", { class: "dl-hint" }, "Point at the photo, click to keep the unit; or focus it and use the arrow keys.")),
      h("div", { class: "dl-fp-panel" },
        h("div", {}, h("div", { class: "dl-fp-title" }, "layer, first to last: size of its field"), depthBars, slider, name),
        numbers,
        h("div", {}, h("div", { class: "dl-fp-title" }, "all that this unit sees"), crop),
        say)));
  el.append(root);

  const hatch = (key) => `<pattern id="${id}${key}" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">` +
    '<rect width="7" height="7" class="ground"/><rect width="1" height="7" class="stripe"/></pattern>';

  function drawScene(field, unit, width) {
    const [, , size, stride, padding, map] = field;
    // the camera stands back as far as the layer's outermost units look, so it holds still on hovering
    const reach = [0, 1].map((a) => Math.max(padding[a], (map[a] - 1) * stride[a] - padding[a] + size[a] - photo[a], 0));
    const margin = Math.max(...reach, 0.03 * Math.max(...photo));
    const tall = width * photo[0] / photo[1];
    const k = Math.min(width / (photo[1] + 2 * margin), tall / (photo[0] + 2 * margin));
    const x = (value) => width / 2 + (value - (photo[1] - 1) / 2) * k;
    const y = (value) => tall / 2 + (value - (photo[0] - 1) / 2) * k;
    toPhoto = (px, py) => [(py - tall / 2) / k + (photo[0] - 1) / 2, (px - width / 2) / k + (photo[1] - 1) / 2];
    const f = (value) => value.toFixed(1);
    const frame = (top, bottom, left, right) =>
      `M${f(x(left - 0.5))} ${f(y(top - 0.5))}H${f(x(right + 0.5))}V${f(y(bottom + 0.5))}H${f(x(left - 0.5))}Z`;

    const [[top, bottom], [left, right]] = region(field, unit);
    const seen = [Math.max(top, 0), Math.min(bottom, photo[0] - 1), Math.max(left, 0), Math.min(right, photo[1] - 1)];
    const whole = frame(0, photo[0] - 1, 0, photo[1] - 1);
    const hole = seen[0] <= seen[1] && seen[2] <= seen[3] ? frame(...seen) : "";
    const edge = frame(top, bottom, left, right);

    let dots = "";
    const [cy, cx] = center(field, unit), gap = Math.min(...stride) * k;
    const near = gap >= 9 ? Math.max(...map) : gap >= 4 ? 3 : 0;
    for (let i = Math.max(0, unit[0] - near); near && i <= Math.min(map[0] - 1, unit[0] + near); i++) {
      for (let j = Math.max(0, unit[1] - near); j <= Math.min(map[1] - 1, unit[1] + near); j++) {
        const at = center(field, [i, j]);
        dots += `M${f(x(at[1]) - 1.5)} ${f(y(at[0]))}a1.5 1.5 0 1 0 3 0a1.5 1.5 0 1 0 -3 0`;
      }
    }
    let ruler = "";
    if (gap >= 42) {
      const to = unit[1] + 1 < map[1] ? 1 : -1, end = x(cx + to * stride[1]), middle = (x(cx) + end) / 2;
      ruler = `<path class="ruler" d="M${f(x(cx))} ${f(y(cy))}H${f(end)}"/>` +
        `<text class="tag" text-anchor="middle" x="${f(middle)}" y="${f(y(cy) + 15)}">${stride[1]}</text>`;
    }
    const tag = `${size[0]} × ${size[1]}`, plate = 12 + 7 * tag.length, above = y(top - 0.5) > 24;
    const tagX = clamp(x(left - 0.5) - 1, 2, width - plate - 2), tagY = y(top - 0.5) + (above ? -22 : 3);
    const spot = clamp(Math.min(...size) * k / 5, 1.2, 5);
    scene.setAttribute("width", width);
    scene.setAttribute("height", tall);
    scene.innerHTML = `<defs>${hatch("a")}<clipPath id="${id}c"><path d="${whole}"/></clipPath></defs>` +
      `<rect width="${width}" height="${tall}" fill="url(#${id}a)"/>` +
      `<image href="${safe(image)}" x="${f(x(-0.5))}" y="${f(y(-0.5))}" width="${f(photo[1] * k)}" height="${f(photo[0] * k)}" preserveAspectRatio="none"/>` +
      `<path class="dim" fill-rule="evenodd" d="${whole}${hole}"/>` +
      `<path class="beyond" d="${edge}"/><g clip-path="url(#${id}c)"><path class="casing" d="${edge}"/><path class="edge" d="${edge}"/></g>` +
      (dots ? `<path class="dots" d="${dots}"/>` : "") + ruler +
      `<circle class="spot" cx="${f(x(cx))}" cy="${f(y(cy))}" r="${f(spot)}"/>` +
      `<rect class="plate" x="${f(tagX)}" y="${f(tagY)}" width="${plate}" height="19" rx="4"/>` +
      `<text class="plate" x="${f(tagX + plate / 2)}" y="${f(tagY + 14)}">${tag}</text>`;
  }

  function drawCrop(field, unit) {
    const [[top], [left]] = region(field, unit), [tall, wide] = field[2];
    const k = 190 / Math.max(tall, wide);
    crop.setAttribute("width", Math.max(2, wide * k));
    crop.setAttribute("height", Math.max(2, tall * k));
    crop.innerHTML = `<defs>${hatch("b")}</defs><rect width="100%" height="100%" fill="url(#${id}b)"/>` +
      `<image href="${safe(image)}" x="${-left * k}" y="${-top * k}" width="${photo[1] * k}" height="${photo[0] * k}" preserveAspectRatio="none"/>`;
  }

  function drawDepth(table, depth, width) {
    const most = Math.max(...table.map(([, , size]) => size[0])), step = (width - 16) / Math.max(1, table.length - 1);
    const wide = Math.min(14, step * 0.66);
    depthBars.setAttribute("width", width);
    depthBars.innerHTML = table.map(([, , size], i) => {
      const tall = Math.max(2, 48 * size[0] / most);
      return `<rect class="${i === depth ? "on" : ""}" x="${8 + i * step - wide / 2}" y="${52 - tall}" width="${wide}" height="${tall}" rx="1.5"/>`;
    }).join("");
  }

  const draw = perFrame(() => {
    const { network, table, depth, field, unit: pinned } = state();
    const unit = hover ? nearest(field, hover) : pinned;
    bar.show();
    const room = root.clientWidth - 34, wide = room >= 640;
    root.classList.toggle("wide", wide);
    const across = Math.min(wide ? room - 292 : room, Math.round(TALL * photo[1] / photo[0]), 660);
    drawScene(field, unit, across);
    drawDepth(table, depth, wide ? clamp(room - across - 24, 268, 400) : Math.min(room, 420));
    drawCrop(field, unit);
    slider.max = table.length - 1;
    slider.style.width = depthBars.getAttribute("width") + "px";
    slider.value = depth;
    slider.setAttribute("aria-valuetext", `${field[0]}, field ${field[2][0]}`);
    name.innerHTML = `<b>${safe(field[0])}</b> ${safe(field[1])}`;
    const pair = ([a, b]) => (a === b ? a : `${a}, ${b}`);
    numbers.innerHTML = figures([
      [pair(field[2]), "field size", "field"], [pair(field[3]), "stride"], [pair(field[4]), "padding"], [field[5].join("×"), "units"],
    ]);
    const text = describe(network, field, unit, photo);
    say.textContent = text;
    scene.setAttribute("aria-label", `${text} Arrow keys choose another unit.`);
  });

  const point = (event) => {
    const box = scene.getBoundingClientRect();
    return toPhoto(event.clientX - box.left, event.clientY - box.top);
  };
  scene.addEventListener("pointermove", (event) => { hover = point(event); draw(); });
  scene.addEventListener("pointerleave", () => { hover = null; draw(); });
  scene.addEventListener("click", (event) => commit(model, { unit: nearest(state().field, point(event)) }));
  scene.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    hover = null;
    const { field, unit } = state();
    commit(model, { unit: unit.map((u, axis) => clamp(u + step[axis], 0, field[5][axis] - 1)) });
  });

  const stop = listen(model, ["network", "layer", "unit"], draw);
  const sized = new ResizeObserver(draw);
  sized.observe(root);
  draw();
  return () => { stop(); sized.disconnect(); draw.cancel(); };
}

export default { render };
