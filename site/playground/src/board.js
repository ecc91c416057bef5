// The canvas of shapes: the widget of lesson 08, with this page in the place of its kernel.

import { own } from "data";
import widget from "shape-canvas";
import { compose, resized } from "./own_scene.js";

const LARGEST = 0.7; // radius, as a share of the scene

export class Board {
  /** `change` is called when a shape has been moved. */
  constructor(element, change) {
    Object.assign(this, { element, change, size: own.size, listeners: new Map() });
    this.values = { shapes: own.shapes, background: own.background, selected: 0 };
    this.stop = () => {};
  }

  /** The scene of the present shapes, on so many pixels; the widget shows it. */
  scene(size) {
    if (size !== this.size || !this.values.lists) this.mount(size);
    const { shapes, background } = this.values, image = compose(shapes, background, size);
    this.set("drawn", url(image));
    return image;
  }

  mount(size) {
    const { kinds, patterns, most, paths, radius } = own;
    this.stop();
    this.listeners.clear();
    this.element.replaceChildren();
    this.values.shapes = resized(this.values.shapes, this.size, size);
    const lists = { kinds, patterns, most, paths, radius: [radius[0], Math.round(LARGEST * size)] };
    Object.assign(this.values, { size, lists, drawn: "" });
    this.size = size;
    this.stop = widget.render({ model: this, el: this.element });
  }

  // ---- What the widget asks of its model

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    for (const then of this.listeners.get(name) ?? []) then();
  }

  on(event, then) {
    const name = event.replace("change:", "");
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), then]);
  }

  off() {} // `mount` forgets all listeners

  save_changes() {
    this.change();
  }
}

const canvas = document.createElement("canvas");

function url({ width, height, pixels }) {
  Object.assign(canvas, { width, height });
  const picture = new ImageData(width, height);
  for (let i = 0, at = 0; i < pixels.length; at++) picture.data[at] = at % 4 === 3 ? 255 : pixels[i++];
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas.toDataURL();
}
