import { h, listen, KEYS } from "./common.js";

const PART = 2 ** 22;  // bytes of a message

function render({ model, el }) {
  let turn = 0;
  const say = h("span", { class: "dl-hint", "aria-live": "polite" });
  const input = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "picture", onchange: () => send(input.files[0]), ...KEYS });
  const button = h("button", { type: "button", class: "dl-pill", title: "A picture of any kind and size. It stays on this machine.", onclick: () => input.click(), ...KEYS }, "Choose a picture");
  el.append(h("div", { class: "dl dl-file" }, button, input, " ", say));

  async function send(file) {
    if (!file) return;
    const mine = ++turn, most = model.get("most");
    input.value = "";  // so that the same file can be chosen again
    if (file.size > most) {
      say.textContent = `${file.name} has ${Math.round(file.size / 1e6)} MB: expected at most ${Math.round(most / 1e6)}, so save it smaller first.`;
      return;
    }
    for (let at = 0; at === 0 || at < file.size; at += PART) {
      const part = await file.slice(at, at + PART).arrayBuffer();
      if (mine !== turn) return;  // another one has been chosen since
      say.textContent = "reading …";
      model.send({ at, size: file.size }, undefined, [part]);
    }
  }
  return listen(model, ["count"], () => { say.textContent = ""; });
}

export default { render };
