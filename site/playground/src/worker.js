// One network at work, apart from the page, so that the page never freezes.

import * as ort from "onnxruntime-web/wasm";
import { fittingSide, likeliest, planes, resize, softmax } from "./answers.js";

ort.env.wasm.numThreads = 1; // more need headers that only a server can send
const networks = new Map(); // name -> session, sides

const tasks = {
  /** The runtime's code. */
  start({ wasm }) {
    ort.env.wasm.wasmBinary = wasm;
  },

  /** A network: its graph in the ONNX format, and its weights in half precision. */
  async add({ name, graph, weights, sides }) {
    const data = new Uint8Array(widen(new Uint16Array(weights)).buffer);
    const options = { externalData: [{ path: "weights", data }] };
    networks.set(name, { sides, session: await ort.InferenceSession.create(graph, options) });
  },

  /** What a network says of an image: label, confidence, and how long it took, in milliseconds. */
  async ask({ name, image }) {
    const begin = performance.now(), { sides, session } = networks.get(name);
    const [width, height] = [image.width, image.height].map((side) => fittingSide(side, sides));
    const pixels = resize(planes(image), image, { width, height });
    const tensor = new ort.Tensor("float32", pixels, [1, 3, height, width]);
    const { logits } = await session.run({ image: tensor });
    const values = softmax(logits.data, width * height);
    const answer = likeliest(resize(values, { width, height }, image), image.width * image.height);
    logits.dispose();
    return { ...answer, time: performance.now() - begin };
  },
};

/** Numbers of 16 bits as those of 32. */
function widen(halves) {
  const table = Float32Array.from({ length: 2 ** 16 }, (_, bits) => {
    const exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction) : 2 ** -14 * fraction;
    return bits >> 15 ? -size : size;
  });
  return Float32Array.from(halves, (bits) => table[bits]);
}

addEventListener("message", async ({ data: { task, ...rest } }) => {
  try {
    postMessage({ result: await tasks[task](rest) });
  } catch (error) {
    postMessage({ error: String(error?.message ?? error) });
  }
});
