// The page's state as an address: index.html#seed=7&network=v3plus-scenes&second=none
//
// seed=7, draw, or photo=coffee; world and side, network and second, view. `bare` leaves an image and its
// answers, for a frame in another page.

import data from "data";
import { NONE, fits, known } from "./networks.js";

export const VIEWS = ["classes", "confidence"];
const MOST = 2 ** 32 - 1; // largest seed

export const worldOf = (name) => data.worlds.find((world) => world.name === name);
export const initial = {
  source: "seed", seed: 7, photo: Object.keys(data.photos)[0], side: 0, // 0: the network's own
  network: data.first[0], second: data.first[1], view: VIEWS[0], bare: false,
};
initial.world = known.get(initial.network).world ?? data.worlds[0].name;

/** The state that an address names, and a sentence for each thing that it names in vain. */
export function parse(hash) {
  const names = new URLSearchParams(hash.replace(/^#/, "")), problems = [];
  const state = { ...initial, bare: names.has("bare") };
  const take = (name, isKnown, what) => {
    if (!names.has(name)) return false;
    const there = isKnown(names.get(name));
    if (there) state[name] = names.get(name);
    else problems.push(`There is no ${what} “${names.get(name)}” here.`);
    return there;
  };
  if (take("network", (name) => known.has(name), "network")) {
    state.world = known.get(state.network).world ?? state.world;
    if (!fits(state.network, state.second)) state.second = NONE;
  }
  take("second", (name) => fits(state.network, name), "second network");
  take("world", worldOf, "world");
  take("view", (name) => VIEWS.includes(name), "view");
  if (take("seed", isSeed, "seed")) state.seed = Number(state.seed);
  if (names.has("draw")) state.source = "draw";
  if (take("photo", (name) => Object.hasOwn(data.photos, name), "photograph")) state.source = "photo";
  if (take("side", (text) => data.sides.includes(Number(text)), "side")) state.side = Number(state.side);
  return { state, problems };
}

export function isSeed(text) {
  return /^\d+$/.test(text) && Number(text) <= MOST;
}

/** The address of a state; a reader's file has none. */
export function format(state) {
  const { source, network, second, view, world } = state;
  const { seed, photo, side } = state, isScene = source === "seed" || source === "draw";
  const names = { seed: { seed }, draw: { draw: "" }, photo: { photo }, file: {} }[source];
  if (isScene && world !== known.get(network).world) names.world = world;
  if (!isScene && side) names.side = side;
  if (view !== initial.view) names.view = view;
  if (state.bare) names.bare = "";
  return `#${new URLSearchParams({ ...names, network, second })}`;
}
