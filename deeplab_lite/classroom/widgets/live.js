// For widgets that carry scenes along and ask the kernel for others; stands behind common.js.

/** Base64 of pairs (value, how many times) to the values. */
export function unrun(text) {
  const pairs = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), values = [];
  for (let i = 0; i < pairs.length; i += 2) for (let n = 0; n < pairs[i + 1]; n++) values.push(pairs[i]);
  return Uint8Array.from(values);
}

/** "#rrggbb" as [r, g, b]. */
function rgb(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}

/** A box for the seed of any scene: it is off until a kernel answers, since a page has only its own. */
function seedBox(model, choose) {
  const ask = 1 + Math.floor(Math.random() * 1e9), most = 2 ** 32 - 1;
  const input = h("input", {
    type: "number", min: 0, max: most, step: 1, "aria-label": "scene", ...KEYS,
    onchange: () => enter(),
    onkeydown: (event) => {
      if (event.key !== "Enter") return;  // JupyterLab would take it for the cell
      event.stopPropagation();
      enter();
    },
  });
  const enter = () => {
    const value = parseInt(input.value, 10);
    if (Number.isFinite(value)) choose(clamp(value, 0, most));
  };
  const wait = h("span", { class: "dl-wait" });
  return {
    root: h("span", {}, h("label", { class: "dl-seed" }, "scene ", input), wait),
    knock: () => commit(model, { ask }),
    /** `seed` is that of the scene which is drawn. */
    show(seed) {
      const live = model.get("answer") === ask, asked = model.get("seed");
      if (document.activeElement !== input) input.value = asked;
      input.disabled = !live;
      input.title = live ? "any scene, by its seed" : "other scenes need the kernel: run the cell";
      wait.textContent = asked === seed ? "" : live ? " computing …" : ` scene ${seed} is shown: no kernel answers`;
    },
  };
}
