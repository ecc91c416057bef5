// Networks and their workers, as the page sees them.

import data from "data";
import source from "worker"; // the text of worker.js, bundled: a page on a disk has no other way
import { load } from "./assets.js";

export const known = new Map(data.networks.map((network) => [network.name, network]));

export const NONE = "none"; // in place of a second network

/** Whether this can be the second network: its answers can be compared with the first one's. */
export function fits(first, second) {
  if (second === NONE) return true;
  return known.has(second) && known.get(second).classes.join() === known.get(first).classes.join();
}

/** Reads the runtime and networks, each once; `show` is called when more of them is there. */
export class Library {
  constructor(show) {
    this.show = show;
    this.kept = new Map(); // asset -> its bytes so far, and the promise of all
  }

  get(asset) {
    if (!this.kept.has(asset)) {
      const entry = { loaded: 0 };
      entry.reading = load(asset, (bytes) => {
        entry.loaded += bytes;
        this.show();
      });
      entry.reading.catch(() => this.kept.delete(asset)); // the next one may try again
      this.kept.set(asset, entry);
    }
    return this.kept.get(asset).reading;
  }

  /** How many bytes are here, of how many. */
  count() {
    const entries = [...this.kept];
    const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
    return [sum(entries.map(([, { loaded }]) => loaded)), sum(entries.map(([{ bytes }]) => bytes))];
  }
}

/** A worker and the networks that it knows. It takes one question after the other. */
export class Desk {
  constructor(library) {
    this.library = library;
    this.known = new Set();
    this.last = Promise.resolve();
    this.worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  }

  /** What a network says of an image: label, confidence, time. */
  ask(name, image) {
    this.library.get(known.get(name).file).catch(() => {}); // while the runtime is still coming
    const answer = this.last.then(async () => {
      await this.start();
      await this.learn(name);
      return this.call("ask", { name, image });
    });
    this.last = answer.catch(() => {});
    return answer;
  }

  async start() {
    if (this.started) return;
    await this.call("start", { wasm: await this.library.get(data.runtime) });
    this.started = true;
  }

  async learn(name) {
    if (this.known.has(name)) return;
    const { file, graph, sides } = known.get(name), bytes = await this.library.get(file);
    const parts = { graph: new Uint8Array(bytes, 0, graph), weights: bytes.slice(graph) };
    await this.call("add", { name, sides, ...parts });
    this.known.add(name);
  }

  call(task, rest) {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data: { result, error } }) => {
        if (error) reject(new Error(error));
        else resolve(result);
      };
      this.worker.onerror = (event) => reject(new Error(event.message));
      this.worker.postMessage({ task, ...rest });
    });
  }
}
