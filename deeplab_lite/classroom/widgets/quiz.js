import { h, s, plural, perFrame, listen, commit, KEYS } from "./common.js";

const OPEN = -1;
const STORE = "deeplab-quiz";

// ---- memory: option by question, as texts, so that a question that is rewritten is open again ----

function kept() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};  // a browser may forbid it
  }
}

function keep(questions, answers) {
  const all = kept();
  questions.forEach(({ question, options }, i) => {
    if (answers[i] === OPEN) delete all[question];
    else all[question] = options[answers[i]][0];
  });
  try {
    localStorage.setItem(STORE, JSON.stringify(all));
  } catch {}
}

function remembered(questions) {
  const all = kept();
  return questions.map(({ question, options }) => options.findIndex(([text]) => text === all[question]));
}

// ---- what one sees ----

/** How it stands, in a sentence. */
export function describe(questions, answers) {
  const given = answers.filter((answer) => answer !== OPEN).length;
  const right = answers.filter((answer, i) => answer === questions[i].right).length;
  if (!given) return `${plural(questions.length, "question")}, none answered yet.`;
  const all = right === questions.length ? "all" : right;
  return `${given} of ${questions.length} answered, ${all} right.`;
}

/** Text with `code` in it. */
function prose(text) {
  return text.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part));
}

/** A mark for each question: open, right or wrong. */
function strip(questions, answers) {
  const marks = questions.map(({ right }, i) => {
    const kind = answers[i] === OPEN ? "open" : answers[i] === right ? "right" : "wrong";
    const mark = s("text", { x: 24 * i + 11, y: 15.5, "text-anchor": "middle" });
    mark.textContent = { open: i + 1, right: "✓", wrong: "✗" }[kind];
    return s("g", { class: kind }, s("circle", { cx: 24 * i + 11, cy: 11, r: 10 }), mark);
  });
  const width = 24 * questions.length;
  return s("svg", { width, height: 22, viewBox: `0 0 ${width} 22`, "aria-hidden": "true" }, ...marks);
}

function render({ model, el }) {
  const questions = model.get("questions");
  const answers = () => model.get("answers");
  const choose = (place, option) => {
    const all = [...answers()];
    all[place] = option;
    keep(questions, all);
    commit(model, { answers: all });
  };

  const marks = h("div");
  const say = h("p", { class: "dl-say", "aria-live": "polite" });
  const again = h("button", {
    type: "button", class: "dl-pill", ...KEYS,
    onclick: () => {
      const all = questions.map(() => OPEN);
      keep(questions, all);
      commit(model, { answers: all });
    },
  }, "Start over");
  const cards = questions.map(({ question, options }, place) => {
    const buttons = options.map(([text], option) => h("button", {
      type: "button", class: "dl-qz-option", onclick: () => choose(place, option), ...KEYS,
    }, ...prose(text)));
    const reply = h("p", { class: "dl-qz-reply", "aria-live": "polite" });
    const title = h("p", { class: "dl-qz-question" }, `${place + 1}. `, ...prose(question));
    const root = h("div", { class: "dl-qz-card", role: "group", "aria-label": `question ${place + 1}` },
      title, ...buttons, reply);
    return { root, buttons, reply };
  });
  const root = h("div", { class: "dl dl-qz", role: "group", "aria-label": `quiz of lesson ${model.get("lesson")}` },
    h("div", { class: "dl-qz-head" }, marks, say, again), ...cards.map((card) => card.root));
  el.append(root);

  const draw = perFrame(() => {
    const all = answers();
    marks.replaceChildren(strip(questions, all));
    say.textContent = describe(questions, all);
    again.disabled = all.every((answer) => answer === OPEN);
    cards.forEach(({ buttons, reply }, place) => {
      const { options, right } = questions[place], answer = all[place];
      buttons.forEach((button, option) => {
        button.setAttribute("aria-pressed", option === answer);
        button.classList.toggle("right", option === answer && option === right);
        button.classList.toggle("wrong", option === answer && option !== right);
      });
      const text = answer === OPEN ? "" : `${answer === right ? "✓" : "✗"} ${options[answer][1]}`;
      if (reply.dataset.text !== text) reply.replaceChildren(...prose(text));
      reply.dataset.text = text;
    });
  });

  const stop = listen(model, ["answers"], draw);
  const before = remembered(questions);
  if (answers().every((answer) => answer === OPEN) && before.some((answer) => answer !== OPEN)) {
    commit(model, { answers: before });
  }
  draw();
  return () => { stop(); draw.cancel(); };
}

export default { render };
