// Terms that say what they mean, controls with names, a search that works from a folder on disk.

/** Show the glossary's entry of a term while it is pointed at or has the focus. */
function explainTerms() {
  const bubble = document.createElement("div");
  bubble.id = "term-bubble";
  bubble.setAttribute("role", "tooltip");
  bubble.hidden = true;
  document.body.append(bubble);

  const hide = () => { bubble.hidden = true; };
  const show = (link) => {
    const [english, chinese, text] = window.GLOSSARY[link.hash.slice(1)];
    const name = document.createElement("b");
    name.textContent = english;
    const translation = document.createElement("span");
    translation.lang = "zh";
    translation.textContent = chinese;
    bubble.replaceChildren(name, " ", translation, document.createElement("br"), `${text}.`);
    bubble.hidden = false;
    const box = link.getBoundingClientRect();
    const left = Math.min(box.left, document.documentElement.clientWidth - bubble.offsetWidth - 8);
    const above = box.top - bubble.offsetHeight - 6;
    bubble.style.left = `${Math.max(8, left) + scrollX}px`;
    bubble.style.top = `${(above > 0 ? above : box.bottom + 6) + scrollY}px`;
  };
  for (const link of document.querySelectorAll("a.term")) {
    link.setAttribute("aria-describedby", bubble.id);
    link.addEventListener("pointerenter", () => show(link));
    link.addEventListener("focus", () => show(link));
    link.addEventListener("pointerleave", hide);
    link.addEventListener("blur", hide);
  }
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}

/** Names for what the theme leaves without one that fits. */
function nameControls() {
  for (const summary of document.querySelectorAll("nav summary")) {
    summary.setAttribute("aria-label", `Pages of ${summary.parentElement.previousElementSibling.textContent}`);
  }
  // Of these the theme and MyST-NB give names that hide the words that one sees.
  const named = document.querySelectorAll(".search-button-field, details.hide > summary");
  for (const control of named) control.removeAttribute("aria-label");
}

/** A picture of the playground becomes the playground, which weighs more than the page, at a click. */
function openFrames() {
  for (const button of document.querySelectorAll("button[data-frame]")) {
    button.addEventListener("click", () => {
      const frame = document.createElement("iframe");
      frame.src = button.dataset.frame;
      frame.title = "playground";
      frame.className = button.className;
      button.replaceWith(frame);
      frame.focus();
    });
  }
}

// A result's excerpt is read from its page, which a browser refuses to do from file://.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
addEventListener("DOMContentLoaded", explainTerms);
addEventListener("DOMContentLoaded", nameControls);
addEventListener("DOMContentLoaded", openFrames);
