// The playground: one image, one or two networks, and where they differ.

import data from "data";
import { format, initial, isSeed, parse, worldOf } from "./address.js";
import { load } from "./assets.js";
import { Board } from "./board.js";
import { read } from "./images.js";
import { Desk, Library, NONE, fits, known } from "./networks.js";
import { compose } from "./own_scene.js";
import { photograph } from "./paint.js";
import { element, readout, show } from "./panels.js";
import { scene } from "./scenes.js";
import { photographs, standardised } from "./textures.js";

const at = (id) => document.getElementById(id);
const state = { ...initial, file: null, strength: 0.7 };

// ---- The image -----------------------------------------------------------------------------------

const board = new Board(at("board"), () => refresh());
const photos = new Map(); // name -> Blob
const textures = Promise.all(Object.values(data.textures).map(async (asset, place) => {
  photographs[place] = standardised(new Uint8Array(await load(asset)));
}));

/** The image that the state names, with the truth where it is known. Throws an Error with a sentence. */
async function imageOf({ source, seed, world, photo, file, side, network }) {
  const largest = side || known.get(network).size;
  if (source === "file") return file && read(file, largest);
  if (source === "photo") {
    if (!photos.has(photo)) photos.set(photo, new Blob([await load(data.photos[photo])]));
    return read(photos.get(photo), largest);
  }
  await textures;
  const { size, difficulty } = worldOf(world);
  return source === "draw" ? board.scene(size) : scene(seed, size, difficulty);
}

function nameOf({ source, seed, photo, file }) {
  if (source === "seed") return `The scene of seed ${seed}`;
  if (source === "photo") return `The photograph ${photo}`;
  return source === "draw" ? "Your scene" : `Your picture ${file.name}`;
}

// ---- The answers ---------------------------------------------------------------------------------

const library = new Library(() => progress());
const desks = [new Desk(library), new Desk(library)]; // one for each network: they work side by side
let turn = 0; // of the newest image
let wanted = null; // the newest image that no network has been asked about
let asking = false;
let shown = null; // the last question, with its answers once they are there
let cross = null; // the pixel that is read out: x, y

/** Show the image of the present state, and have the networks asked about it. */
async function refresh() {
  const mine = ++turn;
  controls();
  say("problem", "");
  try {
    const image = await imageOf(state);
    if (mine !== turn || !image) return;
    const canvas = at("image").querySelector("canvas");
    photograph(canvas, image);
    canvas.setAttribute("aria-label", nameOf(state));
    const names = [state.network, state.second].filter((name) => name !== NONE);
    wanted = { image, names, answers: [] };
    if (!shown) draw(wanted);
    if (!asking) await ask();
  } catch (error) {
    if (mine === turn) say("problem", error.message);
  }
}

/** Ask both networks about the newest image, until there is none: images in between are left out. */
async function ask() {
  asking = true;
  try {
    while (wanted) {
      const question = wanted;
      wanted = null;
      progress();
      const { names, image } = question;
      question.answers = await Promise.all(names.map((name, place) => desks[place].ask(name, image)));
      draw(question);
    }
  } finally {
    asking = false;
    progress();
  }
}

function draw(question = shown) {
  if (!question) return;
  const { width, height } = question.image;
  if (cross && (cross.x >= width || cross.y >= height)) cross = null;
  shown = question;
  show({ ...shown, view: state.view, strength: state.strength });
  point();
}

function progress() {
  const [loaded, total] = library.count(), mega = (bytes) => (bytes / 1e6).toFixed(1);
  const bar = at("loading").querySelector("progress");
  document.querySelector("main").setAttribute("aria-busy", asking);
  at("loading").hidden = !asking || (loaded === total && shown.answers.length > 0);
  if (loaded < total) Object.assign(bar, { max: total, value: loaded });
  else bar.removeAttribute("value");
  at("loading-text").textContent = loaded === total ? "Starting the networks"
    : `Loading the networks and their runtime, once: ${mega(loaded)} of ${mega(total)} MB`;
}

function say(id, text) {
  at(id).textContent = text;
  at(id).hidden = !text;
}

// ---- The cross -----------------------------------------------------------------------------------

/** Mark the pixel that is read out in all pictures, and say what is there. */
function point() {
  for (const frame of document.querySelectorAll(".frame")) {
    frame.classList.toggle("crossed", Boolean(cross));
    if (!cross) continue;
    frame.style.setProperty("--x", (cross.x + 0.5) / shown.image.width);
    frame.style.setProperty("--y", (cross.y + 0.5) / shown.image.height);
  }
  at("readout").textContent = cross ? readout(shown, cross) : "Point at a picture to read a pixel.";
}

for (const frame of document.querySelectorAll(".frame")) {
  const move = (event) => {
    if (!shown) return;
    const box = frame.getBoundingClientRect(), { width, height } = shown.image;
    const place = (share, side) => Math.min(side - 1, Math.max(0, Math.floor(share * side)));
    cross = {
      x: place((event.clientX - box.left) / box.width, width),
      y: place((event.clientY - box.top) / box.height, height),
    };
    point();
  };
  frame.addEventListener("pointermove", move);
  frame.addEventListener("pointerdown", move);
}

at("panels").addEventListener("keydown", (event) => {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (!shown || !(event.key in ways)) return;
  const [dx, dy] = ways[event.key];
  const { width, height } = shown.image, step = event.shiftKey ? 8 : 1;
  const { x, y } = cross ?? { x: width >> 1, y: height >> 1 };
  cross = { x: clamp(x + step * dx, width - 1), y: clamp(y + step * dy, height - 1) };
  point();
  event.preventDefault();
});

const clamp = (value, most) => Math.min(most, Math.max(0, value));

// ---- Controls ------------------------------------------------------------------------------------

/** Change the state, and all that depends on it. */
function change(values) {
  Object.assign(state, values);
  history.replaceState(null, "", format(state));
  refresh();
}

/** Change what is shown of the answers. */
function look(values) {
  Object.assign(state, values);
  history.replaceState(null, "", format(state));
  controls();
  draw();
}

/** Another first network: its own kind of scenes, and a second one that can be compared. */
function choose(network) {
  const second = fits(network, state.second) ? state.second : NONE;
  change({ network, second, world: known.get(network).world ?? state.world });
}

/** Controls as the state has them, and only those that there are for its kind of image. */
function controls() {
  for (const name of ["source", "view"]) {
    document.querySelector(`[name=${name}][value=${state[name]}]`).checked = true;
  }
  for (const row of document.querySelectorAll("[data-for]")) {
    row.hidden = !row.dataset.for.split(" ").includes(state.source);
  }
  for (const name of ["world", "photo", "side", "network", "second", "strength"]) at(name).value = state[name];
  if (document.activeElement !== at("seed")) at("seed").value = state.seed;
  for (const option of at("second").querySelectorAll("option")) {
    option.disabled = !fits(state.network, option.value);
  }
  at("side").options[0].text = `${known.get(state.network).size} pixels, network A’s own`;
  at("swap").disabled = state.second === NONE;
  at("image").hidden = state.source === "draw" || (state.source === "file" && !state.file);
  at("board").hidden = state.source !== "draw";
  const drawn = state.source === "seed" || state.source === "draw";
  say("note", !drawn && known.get(state.network).world ? data.strange : "");
}

function fill(select, entries) {
  at(select).append(...entries.map(([value, text]) => element("option", { value }, text)));
}

function listen() {
  fill("world", data.worlds.map(({ name, title, size }) => [name, `${title}, ${size} pixels`]));
  fill("photo", Object.keys(data.photos).map((name) => [name, name]));
  fill("side", [[0, ""], ...data.sides.map((side) => [side, `${side} pixels`])]);
  fill("second", [[NONE, "none"]]);
  for (const select of ["network", "second"]) {
    for (const group of new Set(data.networks.map((network) => network.group))) {
      const members = data.networks.filter((network) => network.group === group);
      const options = members.map(({ name, title }) => element("option", { value: name }, title));
      at(select).append(element("optgroup", { label: group }, ...options));
    }
  }
  for (const name of ["world", "photo", "second"]) at(name).onchange = () => change({ [name]: at(name).value });
  at("side").onchange = () => change({ side: Number(at("side").value) });
  at("network").onchange = () => choose(at("network").value);
  at("swap").onclick = () => change({ network: state.second, second: state.network });
  at("sources").onchange = (event) => change({ source: event.target.value });
  at("views").onchange = (event) => look({ view: event.target.value });
  at("strength").oninput = () => look({ strength: Number(at("strength").value) });
  const seed = (value) => isSeed(String(value)) && change({ seed: Number(value) });
  at("seed").oninput = () => seed(at("seed").value);
  at("seed").onblur = controls;
  at("before").onclick = () => seed(state.seed - 1);
  at("after").onclick = () => seed(state.seed + 1);
  at("random").onclick = () => seed(Math.floor(Math.random() * 1e6));
  at("file").onchange = () => take(at("file").files[0]);
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => take(event.clipboardData.files[0]));
  addEventListener("hashchange", open);
}

/** A reader's picture. It goes no further than this page. */
function take(file) {
  if (!file) return;
  at("file-name").textContent = file.name;
  change({ source: "file", file });
}

/** The state that the address names. */
function open() {
  const { state: named, problems } = parse(location.hash);
  Object.assign(state, named);
  document.body.classList.toggle("bare", state.bare);
  refresh();
  if (problems.length) say("problem", [...problems, "The page shows its own choice instead."].join(" "));
}

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Dark where the pages of the course are, or the reader's system is. */
function theme() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch {} // a browser may forbid it
  document.documentElement.dataset.theme = chosen ?? (dark.matches ? "dark" : "light");
}

dark.addEventListener("change", theme);
theme();
listen();
open();

// What the page computes, for the console and for tests.
window.playground = {
  data, parse, scene, compose, worldOf, textures, ask: (name, image) => desks[0].ask(name, image),
};
