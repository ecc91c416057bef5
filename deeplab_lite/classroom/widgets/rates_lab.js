import { h, s, clamp, perFrame, listen, commit, KEYS, presetBar, figures } from "./common.js";

// ---- the numbers: the same as in rates_lab.py, which the tests compare --------------------------

const list = (values) => values.join(", ");
const same = (a, b) => String(a) === String(b);

/** A score to three digits, halves up: toFixed and Python's format differ on ties. */
const three = (score) => (Math.floor(1000 * score + 0.5) / 1000).toFixed(3);

/** Share of a 3x3's taps that meet a map of `side` positions, in whole per cent. */
export function percentOnMap(side, rate) {
  const met = (side + 2 * Math.max(0, side - rate)) ** 2, all = 9 * side * side;
  return Math.floor((200 * met + all) / (2 * all));
}

/** The row of the table for a setting. */
export function find(data, stride, rates, grid) {
  const at = [data.strides.indexOf(stride), data.rates.findIndex((r) => same(r, rates)), data.grids.findIndex((g) => same(g, grid))];
  const [miou, low, high, recall, fields, adds] = data.rows[(at[0] * data.rates.length + at[1]) * data.grids.length + at[2]];
  return { miou, low, high, recall, fields, adds, side: (data.side - 1) / stride + 1 };
}

/** What was measured, in a sentence or three. */
export function describe(data, stride, rates, grid) {
  const { miou, low, high, adds, side } = find(data, stride, rates, grid);
  const shares = rates.map((rate) => percentOnMap(side, rate)).join(" %, ");
  let text = `Output stride ${stride}, rates ${list(rates)}, multi-grid ${list(grid)}: mIoU ` +
    `${three(miou)} [${three(low)}, ${three(high)}] on ${data.scenes} scenes, ${(adds / 1e6).toFixed(0)} million multiply-adds. ` +
    `On the map of ${side}×${side}, ${shares} % of the taps meet it.`;
  const centre = rates.filter((rate) => rate >= side);
  if (centre.length) text += ` At rate${centre.length > 1 ? "s" : ""} ${list(centre)} only the centre tap is left: a 1×1.`;
  if (same([stride, rates, grid], data.trained)) return `${text} This is how it was trained.`;
  const apart = rates.map((rate) => stride * rate), trained = data.trained[1].map((rate) => data.trained[0] * rate);
  return same(apart, trained) ? `${text} Taps are ${list(apart)} pixels apart, as in training.`
    : `${text} Taps are ${list(apart)} pixels apart, in training ${list(trained)}.`;
}

/** Row and column of the nine taps of a 3x3 at `unit`, and whether they meet the map. */
export function taps(unit, rate, side) {
  const found = [];
  for (const i of [-1, 0, 1]) for (const j of [-1, 0, 1]) {
    const [y, x] = [unit[0] + i * rate, unit[1] + j * rate];
    found.push([y, x, Math.min(y, x) >= 0 && Math.max(y, x) < side]);
  }
  return found;
}

/** The position of the map that is nearest to a place in pixels. */
export function unitAt(place, stride) {
  return place.map((at) => Math.floor((at + Math.floor(stride / 2)) / stride));
}

// ---- the picture --------------------------------------------------------------------------------

const BRANCHES = ["#0072b2", "#d55e00", "#009e73"];
const PALE = [238, 245, 251], SKY = [86, 180, 233];  // of a score of 0, and of the best
const MARGIN = 0.25;  // of the map's side, shown around it

function color(share) {
  return PALE.map((pale, i) => Math.round(pale + share * (SKY[i] - pale)));
}

/** A circle, a square or a triangle: told apart without colour. */
function mark(kind, x, y, r) {
  if (kind === 0) return `<circle cx="${x}" cy="${y}" r="${r}"`;
  if (kind === 1) return `<rect x="${x - 0.9 * r}" y="${y - 0.9 * r}" width="${1.8 * r}" height="${1.8 * r}"`;
  return `<path d="M${x} ${y - 1.2 * r}L${x + 1.1 * r} ${y + 0.8 * r}H${x - 1.1 * r}Z"`;
}

function render({ model, el }) {
  const data = model.get("data");
  const state = () => ({
    stride: model.get("output_stride"), rates: model.get("rates"), grid: model.get("multi_grid"),
    unit: unitAt(model.get("place"), model.get("output_stride")),
  });
  const pills = (label, values, name, key) => {
    const bar = presetBar(values.map((value) => ({ name: name(value), value })), ({ value }) => same(value, model.get(key)), ({ value }) => commit(model, { [key]: value }));
    bar.root.setAttribute("aria-label", label);
    return { ...bar, row: h("div", { class: "dl-rl-row" }, h("span", {}, label), bar.root) };
  };
  const bars = [
    pills("output stride", data.strides, String, "output_stride"),
    pills("rates", data.rates, list, "rates"),
    pills("multi-grid", data.grids, (grid) => grid.join("-"), "multi_grid"),
  ];

  const map = s("svg", { class: "dl-rl-map", tabindex: 0, role: "img", ...KEYS });
  const width = 76 + data.strides.length * (data.grids.length * 43 + 10), height = 44 + data.rates.length * 26;
  const table = s("svg", { class: "dl-rl-table", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "mIoU of all settings" });
  const branches = h("div", { class: "dl-rl-branches" }), recall = h("div", { class: "dl-rl-recall" });
  const numbers = h("div", { class: "dl-figures" }), say = h("p", { class: "dl-say", "aria-live": "polite" });
  const hint = h("p", { class: "dl-hint" });
  el.append(h("div", { class: "dl dl-rl", role: "group", "aria-label": "rates lab" },
    ...bars.map((bar) => bar.row),
    h("div", { class: "dl-rl-stage" },
      h("div", { class: "dl-rl-left" }, map, hint),
      h("div", { class: "dl-rl-right" }, numbers, branches,
        h("div", { class: "dl-rl-title" }, "mIoU of the same weights, darker for higher; dashed: as trained. Click to choose"), table,
        h("div", { class: "dl-rl-title" }, "share of right pixels in shapes, by radius in pixels; thin mark: as trained"), recall)),
    say));

  const trained = find(data, ...data.trained), most = Math.max(...data.rows.map(([miou]) => miou));
  const cell = (i, j, k) => [76 + i * (data.grids.length * 43 + 10) + k * 43, 38 + j * 26];

  function drawMap({ rates, unit, stride }, side) {
    const reach = side * MARGIN + 0.5, all = side - 1 + 2 * reach, r = Math.max(Math.min(all / 40, 0.4), all / 100);
    map.setAttribute("viewBox", `${-reach} ${-reach} ${all} ${all}`);
    let parts = `<rect class="ground" x="-0.5" y="-0.5" width="${side}" height="${side}" stroke-width="${all / 300}"/>`;
    for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) parts += `<circle class="dot" cx="${x}" cy="${y}" r="${Math.min(all / 160, 0.16)}"/>`;
    let off = 0;
    [2, 1, 0].forEach((n) => taps(unit, rates[n], side).forEach(([y, x, on]) => {
      off += !on;
      if (y === unit[0] && x === unit[1]) return;
      if (Math.min(y, x) < -reach || Math.max(y, x) > side - 1 + reach) return;
      parts += `${mark(n, x, y, r)} fill="${on ? BRANCHES[n] : "#fff"}" stroke="${BRANCHES[n]}" stroke-width="${r / 3.5}"/>`;
    }));
    map.innerHTML = `${parts}<circle class="unit" cx="${unit[1]}" cy="${unit[0]}" r="${r}"/>`;
    map.setAttribute("aria-label", `The map of ${side} by ${side}; at row ${unit[0]}, column ${unit[1]} ${off} of 27 taps fall off it. Arrow keys move the position.`);
    hint.textContent = `Row ${unit[0]}, column ${unit[1]}: ${27 - off} of 27 taps meet the map, ${off} read padding (hollow, or too far away to be shown). Click, or use the arrow keys, to move.`;
  }

  function drawTable({ stride, rates, grid }) {
    let parts = "";
    data.strides.forEach((os, i) => {
      const [x] = cell(i, 0, 0);
      parts += `<text x="${x + data.grids.length * 21.5}" y="12" text-anchor="middle" font-weight="600">output stride ${os}</text>`;
      data.grids.forEach((g, k) => { parts += `<text class="quiet" x="${cell(i, 0, k)[0] + 21}" y="30" text-anchor="middle">${g.join("-")}</text>`; });
      data.rates.forEach((r, j) => data.grids.forEach((g, k) => {
        const [left, top] = cell(i, j, k), { miou } = find(data, os, r, g);
        parts += `<g class="cell" data-at="${i},${j},${k}"><rect x="${left}" y="${top}" width="42" height="25" fill="rgb(${color(miou / most)})"/>` +
          `<text x="${left + 21}" y="${top + 17}" text-anchor="middle" style="fill:#101820">${miou.toFixed(2)}</text></g>`;
      }));
    });
    data.rates.forEach((r, j) => { parts += `<text x="70" y="${cell(0, j, 0)[1] + 17}" text-anchor="end">${list(r)}</text>`; });
    const frame = (kind, os, r, g) => {
      const [x, y] = cell(data.strides.indexOf(os), data.rates.findIndex((each) => same(each, r)), data.grids.findIndex((each) => same(each, g)));
      return `<rect class="${kind}" x="${x - 1}" y="${y - 1}" width="44" height="27"/>`;
    };
    table.innerHTML = parts + frame("was", ...data.trained) + frame("now", stride, rates, grid);
  }

  const draw = perFrame(() => {
    const now = state(), { stride, rates, grid } = now;
    const { miou, low, high, fields, adds, side, ...row } = find(data, stride, rates, grid);
    now.unit = now.unit.map((at) => clamp(at, 0, side - 1));
    bars.forEach((bar) => bar.show());
    drawMap(now, side);
    drawTable(now);
    numbers.innerHTML = figures([
      [three(miou), `mIoU [${three(low)}, ${three(high)}]`, "field"], [`${side} × ${side}`, "map"],
      [`${(adds / 1e6).toFixed(0)} M`, "multiply-adds"], [fields[0], "px, backbone’s field"],
    ]);
    branches.innerHTML = rates.map((rate, n) => {
      const share = percentOnMap(side, rate);
      return `<div><svg viewBox="-6 -6 12 12" width="14" height="14">${mark(n, 0, 0, 4)} fill="${BRANCHES[n]}"/></svg><b>rate ${rate}</b>` +
        `<span>${stride * rate} pixels apart</span><span>sees ${fields[n + 1]} pixels</span><span class="${rate >= side ? "warn" : ""}">${share} % ${rate >= side ? "of taps: a 1×1" : "of taps on map"}</span></div>`;
    }).join("");
    recall.innerHTML = data.radii.map((radii, n) => {
      const value = row.recall[n];
      return `<div><span>${radii}</span><i><u style="width:${100 * value}%"></u><s style="left:${100 * trained.recall[n]}%"></s></i><b>${value.toFixed(2)}</b></div>`;
    }).join("");
    say.textContent = describe(data, stride, rates, grid);
  });

  table.addEventListener("click", (event) => {
    const at = event.target.closest?.(".cell")?.dataset.at.split(",").map(Number);
    if (at) commit(model, { output_stride: data.strides[at[0]], rates: data.rates[at[1]], multi_grid: data.grids[at[2]] });
  });
  const go = (unit) => commit(model, { place: unit.map((at) => clamp(at * state().stride, 0, data.side - 1)) });
  map.addEventListener("click", (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
    go([Math.round(point.y), Math.round(point.x)]);
  });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    go(state().unit.map((at, axis) => at + step[axis]));
  });
  const stop = listen(model, ["output_stride", "rates", "multi_grid", "place"], draw);
  draw();
  return () => { stop(); draw.cancel(); };
}

export default { render };
