// Large data from the folder of the page. A page on a disk may not fetch, but it may run scripts, so
// each asset is gzip in base64, in parts that are scripts: part("assets/runtime.0.js", "H4sI...").

const texts = new Map();
globalThis.part = (file, text) => texts.set(file, text);

/** The bytes of an asset; `progress` gets the number of bytes after each of its parts. */
export async function load({ parts }, progress = () => {}) {
  const chunks = await Promise.all(parts.map(async (file) => {
    const chunk = decode(await script(file));
    progress(chunk.length);
    return chunk;
  }));
  const stream = new Blob(chunks).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Run a script of the folder, and return the text that it hands over. */
function script(file) {
  return new Promise((resolve, reject) => {
    const node = Object.assign(document.createElement("script"), { src: file });
    node.onload = () => {
      resolve(texts.get(file));
      texts.delete(file);
      node.remove();
    };
    node.onerror = () => {
      node.remove();
      reject(new Error(`${file} could not be read: is the folder of this page complete?`));
    };
    document.head.append(node);
  });
}

function decode(text) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
