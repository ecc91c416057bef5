// Pictures of answers on a canvas. Like deeplab_lite/classroom/draw: the image in grey, under colours.

import { heat } from "data";
import { IGNORE } from "./answers.js";

/** The image as it is. */
export function photograph(canvas, image) {
  put(canvas, image, (data) => {
    for (let i = 0, at = 0; at < data.length; at += 4) {
      for (let c = 0; c < 3; c++) data[at + c] = image.pixels[i++];
    }
  });
}

/** The image in grey, under the colour table[index[i]] at each pixel: [r, g, b, share], or nothing. */
export function tint(canvas, image, index = [], table = []) {
  const { pixels } = image, none = [0, 0, 0, 0];
  put(canvas, image, (data) => {
    for (let i = 0, at = 0; at < data.length; i++, at += 4) {
      const light = 0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2];
      const color = table[index[i]] ?? none, grey = (1 - color[3]) * (0.55 * light + 85);
      for (let c = 0; c < 3; c++) data[at + c] = grey + color[3] * color[c];
    }
  });
}

/** The classes of a label map in the colours of a palette, outlined; classes without one stay grey. */
export function classMap(canvas, image, label, palette, strength) {
  const index = edges(image, label), count = palette.length, table = [];
  palette.forEach((color, k) => {
    if (!color) return;
    table[k] = [...color, strength];
    table[k + count] = [...color, Math.max(0.95, strength)];
  });
  table[2 * count] = [255, 255, 255, strength];
  for (let i = 0; i < label.length; i++) {
    index[i] = label[i] === IGNORE ? 2 * count : label[i] + count * index[i];
  }
  tint(canvas, image, index, table);
}

/** Brighter colours where the likeliest of some classes is less likely. */
export function doubt(canvas, image, confidence, classes, strength) {
  const last = heat.length - 1, scale = last / (1 - 1 / classes);
  const table = heat.map((color, level) => [...color, strength * Math.sqrt(level / last)]);
  const index = new Uint8Array(confidence.length);
  for (let i = 0; i < index.length; i++) index[i] = Math.min(last, scale * (1 - confidence[i]) + 0.5);
  tint(canvas, image, index, table);
}

function put(canvas, { width, height }, draw) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const picture = new ImageData(width, height);
  picture.data.fill(255);
  draw(picture.data);
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** 1 where a pixel has another class than one of its eight neighbours. */
function edges({ width, height }, label) {
  const edge = new Uint16Array(label.length);
  const compare = (a, b) => {
    if (label[a] !== label[b]) edge[a] = edge[b] = 1;
  };
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (x + 1 < width) compare(i, i + 1);
      if (y + 1 === height) continue;
      compare(i, i + width);
      if (x + 1 < width) compare(i, i + width + 1);
      if (x > 0) compare(i, i + width - 1);
    }
  }
  return edge;
}
