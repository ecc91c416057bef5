// Networks and their workers, as the page sees them.

import data from "data";
import source from "worker"; // the text of worker.js, bundled: a page on a disk has no other way
import { load } from "./assets.js";

export const known = new Map(data.networks.map((network) => [network.name, network]));

/** Whether the answers of two networks can be compared, pixel by pixel. */
export function comparable(first, second) {
  return known.get(first).classes.join() === known.get(second).classes.join();
}

/** Reads the runtime and networks, each once; `show(loaded, total)` is told of the bytes. */
export class Library {
  constructor(show) {
    this.show = show;
    this.kept = new Map();
    this.loaded = this.total = 0;
  }

  get(asset) {
    if (!this.kept.has(asset)) {
      this.total += asset.bytes;
      const reading = load(asset, (bytes) => this.show((this.loaded += bytes), this.total));
      reading.catch(() => this.kept.delete(asset)); // the next one may try again
      this.kept.set(asset, reading);
    }
    return this.kept.get(asset);
  }
}

/** A worker and the networks that it knows. It takes one question at a time. */
export class Desk {
  constructor(library) {
    this.library = library;
    this.known = new Set();
    this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  }

  /** What a network says of an image: label, confidence, time. */
  async ask(name, image) {
    this.started ??= this.library.get(data.runtime).then((wasm) => this.call("start", { wasm }));
    await this.started;
    if (!this.known.has(name)) {
      const { file, graph, sides } = known.get(name), bytes = await this.library.get(file);
      const parts = { graph: new Uint8Array(bytes, 0, graph), weights: bytes.slice(graph) };
      await this.call("add", { name, sides, ...parts });
      this.known.add(name);
    }
    return this.call("ask", { name, image });
  }

  call(task, rest) {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data: { result, error } }) => (error ? reject(new Error(error)) : resolve(result));
      this.worker.onerror = (event) => reject(new Error(event.message));
      this.worker.postMessage({ task, ...rest });
    });
  }
}
