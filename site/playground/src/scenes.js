// deeplab_lite/scenes.py in the page: a seed gives the same bytes as there, image and label.
//
// Python computes pixels in 32-bit floats, so every step here is rounded to one: `f`.

import { classes, companies, handles } from "data";
import { IGNORE } from "./answers.js";
import { draws, randomState } from "./random.js";
import { farFrom, fill, noise } from "./textures.js";

const f = Math.fround;

/** The scene of a seed: `pixels`, Uint8Array of size x size x 3, and their `label`. */
export function scene(seed, size, difficulty) {
  const random = randomState(seed), shapes = arrange(random, size, difficulty);
  const background = draws(random, 3).map((draw) => 255 * draw);
  const canvas = new Canvas(size, fill(random, size, size, background, difficulty.texture));
  const [sharp, soft] = difficulty.edge;
  for (const shape of shapes) {
    const box = boxOf(shape, size);
    const color = farFrom(random, background, difficulty.contrast);
    const pattern = fill(random, box.height, box.width, color, difficulty.texture);
    canvas.draw(shape, box, pattern, soft > sharp ? sharp + (soft - sharp) * random() : sharp);
  }
  if (difficulty.light) canvas.light(noise(random, size, size, 128), f(2 * difficulty.light));
  return canvas.finish();
}

/** What a scene is drawn on: `pixels`, Float32Array of size x size x 3, and their label. */
export class Canvas {
  constructor(size, pixels) {
    Object.assign(this, { size, pixels, label: new Uint8Array(size * size) });
  }

  /** Lay a shape with its pattern over what is there; its edge is `width` pixels soft. */
  draw(shape, box, pattern, width, outline = f(0.7)) {
    const { size, pixels, label } = this, soft = f(width);
    const row = new Float32Array(box.width);
    for (let y = 0, from = 0; y < box.height; y++) {
      distances(shape, box, y, row);
      let at = (box.top + y) * size + box.left;
      for (let x = 0; x < box.width; x++, at++, from += 3) {
        const distance = row[x], cover = Math.min(1, Math.max(0, f(0.5 - f(distance / soft))));
        for (let c = 0; c < 3 && cover; c++) {
          const below = pixels[3 * at + c];
          pixels[3 * at + c] = below + f(cover * f(pattern[from + c] - below));
        }
        if (distance < 0) label[at] = shape.label;
        if (Math.abs(distance) < outline) label[at] = IGNORE;
      }
    }
  }

  /** Brighter here and darker there, by the first channel of `noise`. */
  light(values, strength) {
    const { pixels } = this;
    for (let i = 0; i < pixels.length; i++) {
      const factor = f(1 + f(strength * values[i - (i % 3)]));
      pixels[i] = Math.min(255, Math.max(0, f(pixels[i] * factor)));
    }
  }

  finish() {
    const { size, label } = this, pixels = new Uint8Array(this.pixels.length);
    for (let i = 0; i < pixels.length; i++) pixels[i] = f(this.pixels[i] + 0.5);
    return { width: size, height: size, pixels, label };
  }
}

// ---- Shapes --------------------------------------------------------------------------------------

const SIN_72 = f(0.9510565), COS_72 = f(0.3090170), SIN_36 = f(0.5877853), COS_36 = f(0.8090170);
const SIN_60 = f(0.8660254), SIN_45 = f(0.7071068);
const long = (u, v) => f(Math.sqrt(f(f(u * u) + f(v * v))));
const { abs, max, min } = Math;

// Signed distance, below 0 inside, from the outline of a shape of radius 1 at the origin.
const OUTLINES = {
  disc: (u, v) => f(long(u, v) - 1),
  square: (u, v) => f(max(abs(u), abs(v)) - f(0.8)),
  triangle: (u, v) => f(max(-v, f(f(SIN_60 * abs(u)) + f(0.5 * v))) - 0.5),
  star(u, v) {
    // inside at least four of the five half planes of a pentagon
    const a = abs(u), near = f(f(SIN_72 * a) + f(COS_72 * v)), far = f(f(SIN_36 * a) - f(COS_36 * v));
    let first = v, second = -9;
    for (const plane of [near, f(near - f(2 * SIN_72 * a)), far, f(far - f(2 * SIN_36 * a))]) {
      second = max(second, min(first, plane));
      first = max(first, plane);
    }
    return f(second - COS_72);
  },
  cross: (u, v) => max(f(max(abs(u), abs(v)) - f(0.95)), f(min(abs(u), abs(v)) - f(0.3))),
  crescent: (u, v) => max(f(long(u, v) - 1), f(0.75 - long(f(u - 0.5), v))),
  ring: (u, v) => f(abs(f(long(u, v) - 0.75)) - 0.25),
  hourglass: (u, v) => max(f(abs(v) - f(0.8)), f(f(SIN_45 * f(abs(u) - abs(v))) - f(0.08))),
};

/** The box of pixels around a shape. */
export function boxOf({ center, radius, handle }, size) {
  const reach = radius + handle[0] + 2;
  const [top, left] = center.map((c) => max(0, Math.trunc(c - reach)));
  const [bottom, right] = center.map((c) => min(size, Math.trunc(c + reach) + 1));
  return { top, left, height: bottom - top, width: right - left };
}

/** The signed distances of one row of a shape's box from its outline, into `row`. */
function distances({ label, center, radius, turn, handle }, box, row, into) {
  const kind = classes[label], outline = OUTLINES[kind], [length, half] = handle;
  const [cos, sin] = turn.map(f), scale = f(1 / radius), wide = f(radius);
  const y = f(box.top + row + (0.5 - center[0])), left = 0.5 - center[1];
  const near = handles[kind] * radius, far = radius + length;
  const middle = f((near + far) / 2), reach = f((far - near) / 2), thick = f(half);
  const sinY = f(sin * y), cosY = f(cos * y);
  for (let i = 0; i < into.length; i++) {
    const x = f(box.left + i + left), u = f(f(cos * x) + sinY), v = f(cosY - f(sin * x));
    let distance = f(wide * outline(f(u * scale), f(v * scale)));
    if (length) {
      const along = f(abs(f(v + middle)) - reach);
      distance = min(distance, max(f(abs(u) - thick), along));
    }
    into[i] = distance;
  }
}

// ---- Where they are ------------------------------------------------------------------------------

/** Shapes from back to front, the large ones behind; fewer than asked for where none fits. */
function arrange(random, size, difficulty) {
  const [low, high] = difficulty.radius, [least, most] = difficulty.shapes, { small } = difficulty;
  const area = (size / difficulty.side) * (size / difficulty.side);
  const count = max(1, Math.trunc(area * (least + (most + 1 - least) * random())));
  const company = difficulty.company ? companies[Math.trunc(2 * random())] : [];
  const all = classes.map((_, label) => label).slice(1);
  const shapes = [];
  for (let turn = 0; turn < 8 * count && shapes.length < count; turn++) {
    const draw = draws(random, 9);
    const radius = low + (high - low) * draw[0] * (1 - small + small * draw[0]);
    const margin = min(0.7 * radius, size / 2), room = size - 2 * margin;
    const center = [margin + room * draw[1], margin + room * draw[2]];
    if (!shapes.every((other) => apart(center, radius, other, difficulty.occlusion))) continue;
    let handle = [0, 0];
    if (draw[3] < difficulty.thin) {
      const [thin, thick] = difficulty.handle, width = thin + (thick - thin) * draw[5];
      handle = [radius * (0.3 + 0.7 * draw[4]), width / 2];
    }
    const share = difficulty.company, together = draw[6] < share;
    const pick = together ? draw[6] / share : (draw[6] - share) / (1 - share);
    const among = together ? company : all;
    const label = among[Math.trunc(pick * among.length)];
    shapes.push({ label, center, radius, turn: turned(draw[7], draw[8]), handle });
  }
  return shapes.sort((a, b) => b.radius - a.radius);
}

function apart(center, radius, other, occlusion) {
  const dy = center[0] - other.center[0], dx = center[1] - other.center[1];
  const least = (1 - occlusion) * (radius + other.radius);
  return dy * dy + dx * dx >= least * least;
}

/** [cos, sin] of a rotation from the tangent t of half of it: cos = (1 - t^2) / (1 + t^2). */
function turned(t, quadrant) {
  const cos = (1 - t * t) / (1 + t * t), sin = (2 * t) / (1 + t * t);
  return [[cos, sin], [-sin, cos], [-cos, -sin], [sin, -cos]][Math.trunc(4 * quadrant)];
}
