// deeplab_lite/classroom/own_scene.py in the page: shapes placed by hand, drawn as scenes are.

import { classes, textures } from "data";
import { draws, randomState } from "./random.js";
import { Canvas, boxOf } from "./scenes.js";
import { SIDE, around, crop, noise, photographs } from "./textures.js";

const BIT = 14; // deviation of the photographs' grey from a shape's colour, of 255

/** The scene of these shapes, from back to front: image and label, as `scene` gives them. */
export function compose(shapes, background, size) {
  const canvas = new Canvas(size, patterned(background, size, size, 0));
  shapes.forEach(({ kind, x, y, radius, angle, ...look }, index) => {
    const turn = (angle * Math.PI) / 180;
    const shape = {
      label: classes.indexOf(kind), center: [y, x], radius, handle: [0, 0],
      turn: [Math.cos(turn), Math.sin(turn)],
    };
    const box = boxOf(shape, size);
    canvas.draw(shape, box, patterned(look, box.height, box.width, index + 1), 1);
  });
  return canvas.finish();
}

/** The shapes on a scene of another size. */
export function resized(shapes, from, to) {
  const scale = to / from;
  return shapes.map((s) => ({ ...s, x: s.x * scale, y: s.y * scale, radius: s.radius * scale }));
}

function patterned({ color, pattern }, height, width, seed) {
  const mean = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  const random = randomState(seed), photograph = photographs[Object.keys(textures).indexOf(pattern)];
  if (pattern === "noise") {
    const values = noise(random, height, width, 8), scale = Math.fround(5 * BIT);
    return around(mean, values.map((value) => value * scale));
  }
  if (!photograph) return around(mean, new Float32Array(height * width * 3));
  const [y, x] = draws(random, 2).map((t, i) => Math.trunc(t * (SIDE - [height, width][i])));
  return around(mean, crop(photograph, y, x, height, width, 1, false, [BIT, BIT, BIT]));
}
