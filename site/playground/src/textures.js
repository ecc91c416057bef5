// deeplab_lite/textures.py in the page: fills of a scene, pixel by pixel the same.
//
// Python computes pixels in 32-bit floats, so every step here is rounded to one: `f`.

import { draws } from "./random.js";

const f = Math.fround;
export const SIDE = 512; // of the photographs of textures
export const photographs = []; // of TEXTURES, in their order: Float32Array of SIDE x SIDE

/** Bytes of a grey photograph as 32-bit floats with mean 0 and deviation 1. */
export function standardised(pixels) {
  let sum = 0, squares = 0;
  for (const value of pixels) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / pixels.length, deviation = Math.sqrt(squares / pixels.length - mean * mean);
  return Float32Array.from(pixels, (value) => (value - mean) / deviation);
}

/** A colour at least contrast x 255 away from `color`; the farthest of 64 if none is. */
export function farFrom(random, color, contrast) {
  const candidates = Array.from({ length: 64 }, () => draws(random, 3).map((draw) => 255 * draw));
  const distances = candidates.map((candidate) => {
    const [r, g, b] = candidate.map((value, i) => (value - color[i]) * (value - color[i]));
    return r + g + b;
  });
  const least = 255 * contrast * (255 * contrast);
  const first = distances.findIndex((distance) => distance >= least);
  return candidates[first >= 0 ? first : distances.indexOf(Math.max(...distances))];
}

/** A pattern around a mean colour: Float32Array of height x width x 3, from 0 to 255. */
export function fill(random, height, width, color, strength) {
  const kind = Math.trunc(random() * 5), turn = draws(random, 8);
  let pattern;
  if (kind < photographs.length) {
    const tint = turn.slice(0, 3).map((t) => f(90 * strength * (t - 0.5) + 30 * strength * (turn[3] - 0.5)));
    const step = 1 + Math.trunc(turn[4] * Math.min(3, Math.floor(SIDE / Math.max(height, width))));
    const [y, x] = [height, width].map((n, i) => Math.trunc(turn[5 + i] * (SIDE - step * n)));
    pattern = crop(photographs[kind], y, x, height, width, step, turn[7] < 0.5, tint);
  } else {
    pattern = noise(random, height, width, 2 << Math.trunc(turn[4] * 5));
    const scale = f(150 * strength * (0.3 + turn[5]));
    for (let i = 0; i < pattern.length; i++) pattern[i] *= scale;
  }
  return around(color, pattern);
}

/** Every `step`-th pixel of a photograph from (y, x) on, times a tint; `mirrored` from below. */
export function crop(photograph, y, x, height, width, step, mirrored, tint) {
  const pattern = new Float32Array(height * width * 3);
  for (let row = 0, at = 0; row < height; row++) {
    let from = (y + step * (mirrored ? height - 1 - row : row)) * SIDE + x;
    for (let column = 0; column < width; column++, from += step) {
      const value = photograph[from];
      pattern[at++] = value * tint[0];
      pattern[at++] = value * tint[1];
      pattern[at++] = value * tint[2];
    }
  }
  return pattern;
}

/** The pattern, moved to a mean colour and kept from 0 to 255, in place. */
export function around(color, pattern) {
  const mean = color.map(f);
  for (let i = 0; i < pattern.length; i += 3) {
    for (let c = 0; c < 3; c++) {
      pattern[i + c] = Math.min(255, Math.max(0, f(mean[c] + pattern[i + c])));
    }
  }
  return pattern;
}

/** Colour noise in [-0.5, 0.5], bilinear between random colours `cell` (a power of 2) apart. */
export function noise(random, height, width, cell) {
  const rows = Math.floor(height / cell) + 2, line = 3 * (Math.floor(width / cell) + 2);
  const grid = Float32Array.from({ length: rows * line }, () => f(random()) - 0.5);
  const tall = new Float32Array(height * line);
  for (let row = 0, at = 0; row < height; row++) {
    const share = (row % cell) / cell, from = Math.floor(row / cell) * line;
    for (let i = from; i < from + line; i++) {
      tall[at++] = grid[i] + f(share * f(grid[i + line] - grid[i]));
    }
  }
  const pixels = new Float32Array(height * width * 3);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const share = (column % cell) / cell, from = row * line + 3 * Math.floor(column / cell);
      for (let i = from; i < from + 3; i++) {
        pixels[at++] = tall[i] + f(share * f(tall[i + 3] - tall[i]));
      }
    }
  }
  return pixels;
}
