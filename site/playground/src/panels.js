// The right half of the page: two answers, the truth, where they differ, and what all that means.

import data from "data";
import {
  AGREE, FIRST, IGNORE, NEITHER, OUTLINE, SECOND, UNKNOWN, differences, mean, score,
} from "./answers.js";
import { known } from "./networks.js";
import { classMap, doubt, tint } from "./paint.js";

const { first, second, neither, unknown } = data.differences; // colours that no class has
const KINDS = {
  [FIRST]: ["only A right", first, "where only A is right"],
  [SECOND]: ["only B right", second, "where only B is right"],
  [NEITHER]: ["both wrong", neither, "where both are wrong"],
  [OUTLINE]: ["outline", unknown, "on outlines, which do not count"],
  [UNKNOWN]: ["A and B differ", unknown, ""],
};
const COLORS = [];
for (const kind in KINDS) COLORS[kind] = [...KINDS[kind][1], 0.9];

const at = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(1)} %`;

export function element(tag, attributes = {}, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

/** A colour for each class. Background is no object: it stays grey. */
function colorsOf({ classes, palette }) {
  return classes.map((name, k) => (name === "background" ? null : palette[k]));
}

/** The labels that these networks can be measured by, or null. */
function truthOf(image, network) {
  return image?.label && network.classes.join() === data.classes.join() ? image.label : null;
}

/** Show what networks say of an image; where they have not answered yet, the image in grey. */
export function show({ image, names, answers, view, strength }) {
  const networks = names.map((name) => known.get(name)), truth = truthOf(image, networks[0]);
  for (const [place, id] of ["a", "b"].entries()) {
    const network = networks[place], answer = answers[place];
    at(id).hidden = !network;
    if (!network) continue;
    const { title, classes } = network;
    caption(id, title);
    if (!answer) tint(canvas(id), image);
    else if (view === "confidence") doubt(canvas(id), image, answer.confidence, classes.length, strength);
    else classMap(canvas(id), image, answer.label, colorsOf(network), strength);
    describe(id, answer ? `${title}: ${shares(answer.label, classes)}` : `${title}: no answer yet`);
  }
  at("truth").hidden = !truth;
  if (truth) {
    classMap(canvas("truth"), image, truth, colorsOf(networks[0]), strength);
    describe("truth", `Truth: ${shares(truth, networks[0].classes)}`);
  }
  const kinds = answers.length > 1 ? differences(answers[0].label, answers[1].label, truth) : null;
  const sentence = kinds ? differ(kinds) : "";
  at("differ").hidden = networks.length < 2;
  tint(canvas("differ"), image, kinds ?? [], COLORS);
  describe("differ", sentence || "Where A and B differ: no answer yet");
  at("sentence").textContent = sentence;
  at("panels").classList.toggle("single", networks.length < 2 && !truth);
  table(networks, answers, truth);
  legend(networks, view, truth);
}

const canvas = (id) => at(id).querySelector("canvas");
const describe = (id, text) => canvas(id).setAttribute("aria-label", text);

function caption(id, title) {
  at(id).querySelector("figcaption").replaceChildren(
    element("span", { className: `badge ${id}` }, id.toUpperCase()), ` ${title}`,
  );
}

/** The classes of a label map, the most frequent first. */
function shares(label, classes) {
  const counts = new Array(256).fill(0);
  for (const k of label) counts[k]++;
  const there = classes.map((name, k) => [counts[k], name]).filter(([count]) => count);
  there.sort(([a], [b]) => b - a);
  return there.map(([count, name]) => `${name} ${percent(count / label.length)}`).join(", ");
}

/** Where two answers differ, in a sentence. */
function differ(kinds) {
  const counts = new Array(6).fill(0);
  for (const kind of kinds) counts[kind]++;
  const total = kinds.length - counts[AGREE];
  const known = [FIRST, SECOND, NEITHER, OUTLINE].filter((kind) => counts[kind]);
  const detail = known.map((kind) => `${number(counts[kind])} ${KINDS[kind][2]}`).join(", ");
  const share = percent(total / kinds.length);
  return `A and B differ at ${number(total)} pixels (${share})${detail && `: ${detail}`}.`;
}

/** A column for each network. */
function table(networks, answers, truth) {
  const badges = ["a", "b"].map((id) => element("span", { className: `badge ${id}` }, id.toUpperCase()));
  const rows = [["", badges.slice(0, networks.length)]];
  const row = (name, of) => rows.push([name, answers.length ? answers.map(of) : networks.map(() => "…")]);
  if (truth) {
    const scores = answers.map(({ label }) => score(label, truth, networks[0].classes.length));
    row("mIoU", (_, place) => scores[place].miou.toFixed(3));
    row("right", (_, place) => percent(scores[place].right));
  }
  row("confidence", ({ confidence }) => mean(confidence).toFixed(2));
  row("time", ({ time }) => `${Math.round(time)} ms`);
  at("scores").replaceChildren(...rows.map(([name, cells], i) => element("tr", {},
    element(i ? "th" : "td", i ? { scope: "row" } : {}, name),
    ...cells.map((cell) => element(i ? "td" : "th", i ? {} : { scope: "col" }, cell)),
  )));
}

/** What each colour on the page means. */
function legend(networks, view, truth) {
  const [{ classes }] = networks, grey = [150, 150, 150];
  const colors = colorsOf(networks[0]).map((color) => color ?? grey);
  const groups = [["classes", classes.map((name, k) => swatch(name, colors[k]))]];
  if (view === "confidence") {
    const share = (level) => Math.sqrt(level / (data.heat.length - 1)).toFixed(2);
    const ramp = data.heat.map((color, level) => `rgb(${color.join(" ")} / ${share(level)})`);
    const style = `background: linear-gradient(90deg, ${ramp}), rgb(${grey})`;
    const scale = element("i", { className: "scale", style });
    groups.unshift(["confidence", [element("span", {}, "sure", scale, "unsure")]]);
  }
  if (networks.length > 1) {
    const kinds = truth ? [FIRST, SECOND, NEITHER, OUTLINE] : [UNKNOWN];
    groups.push(["differ", kinds.map((kind) => swatch(...KINDS[kind]))]);
  }
  const lines = groups.map(([name, items]) => element("p", {}, element("b", {}, name), ...items));
  at("legend").replaceChildren(...lines);
}

function swatch(name, color) {
  return element("span", {}, element("i", { style: `background: rgb(${color})` }), name);
}

/** What is at a pixel, in words. */
export function readout({ image, names, answers }, { x, y }) {
  const networks = names.map((name) => known.get(name)), truth = truthOf(image, networks[0]);
  const i = y * image.width + x;
  const parts = networks.map(({ classes }, place) => {
    const answer = answers[place];
    return answer && `${"AB"[place]}: ${classes[answer.label[i]]} (${answer.confidence[i].toFixed(2)})`;
  });
  if (truth) parts.unshift(`truth: ${truth[i] === IGNORE ? "outline, not counted" : data.classes[truth[i]]}`);
  return `Column ${x}, row ${y} · ${parts.filter(Boolean).join(" · ")}`;
}
