// Brings stored anywidgets to life where there is no kernel: a model, its events, a call of render().

class Model {
  #listeners = {};

  constructor(state) {
    this.state = state;
  }

  get(name) {
    return this.state[name];
  }

  set(name, value) {
    if (JSON.stringify(value) === JSON.stringify(this.state[name])) return;
    this.state[name] = value;
    this.#emit(`change:${name}`);
    this.#emit("change");
  }

  on(event, then) {
    (this.#listeners[event] ??= []).push(then);
  }

  off(event, then) {
    this.#listeners[event] = (this.#listeners[event] ?? []).filter((each) => each !== then);
  }

  save_changes() {}  // nobody to save them for

  send() {}

  #emit(event) {
    for (const then of [...(this.#listeners[event] ?? [])]) then();
  }
}

/** Bytes come as base64. */
function decoded(value) {
  if (typeof value?.base64 !== "string") return value;
  return new DataView(Uint8Array.from(atob(value.base64), (c) => c.charCodeAt(0)).buffer);
}

/** Show the widget that is stored in an element. */
async function mount(place) {
  const { esm, css, state, play } = JSON.parse(place.querySelector("script").textContent);
  const model = new Model(Object.fromEntries(Object.entries(state).map(([k, v]) => [k, decoded(v)])));
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  // From file:// a page may not import a file, but it may import what it has itself.
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const widget = (await import(url)).default;
  const part = { model, el: document.createElement("div") };
  place.append(part.el);
  await (typeof widget === "function" ? await widget() : widget).render(part);
  if (play) keepMoving(place, model, play);
}

/** Go through states until the reader takes over; a reader who wants no motion gets none. */
function keepMoving(place, model, states) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  let at = 0;
  const next = () => {
    at = (at + 1) % states.length;
    for (const [name, value] of Object.entries(states[at])) model.set(name, value);
  };
  const timer = setInterval(() => document.hidden || next(), 1800);
  const pause = document.createElement("button");
  pause.type = "button";
  pause.className = "pause";
  pause.textContent = "❚❚ pause";
  const stop = () => {
    clearInterval(timer);
    pause.remove();
  };
  for (const event of ["pointerdown", "keydown"]) place.addEventListener(event, stop, { once: true });
  pause.addEventListener("click", stop);
  place.append(pause);
}

for (const place of document.querySelectorAll(".widget")) mount(place);
