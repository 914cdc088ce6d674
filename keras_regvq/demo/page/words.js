// Words: a caption, its unknown words, and pictures that get clearer.

import { $, ask, figure, fillSelect, follow, number, showError, working } from "./common.js";

let known = [];

export async function startWords(presets) {
  fillSelect($("words-preset"), presets);
  $("words-preset").addEventListener("change", () => load().catch((e) => showError(e.message)));
  $("words-prompt").addEventListener("input", check);
  $("words-prompt").addEventListener("keydown", (event) => event.key === "Enter" && paint());
  $("words-paint").addEventListener("click", paint);
  await load();
}

async function load() {
  known = await ask("vocabulary", { preset: $("words-preset").value });
  check();
}

const split = (text) => text.toLowerCase().match(/\w+|[^\w\s]/g) ?? [];

function check() {
  const text = $("words-prompt").value;
  const words = split(text);
  const spans = words.map((word) => {
    const span = document.createElement("span");
    span.textContent = word;
    if (known.length && !known.includes(word)) {
      span.className = "unknown";
      span.title = "The model does not know this word.";
    }
    return span;
  });
  const unknown = spans.filter((span) => span.className).length;
  $("words-check").replaceChildren(...spans);
  if (unknown) $("words-check").append(`(${unknown} unknown: what is underlined has no effect)`);
  suggest(text, words);
}

// Words that go on from what is being typed, or the most frequent ones.
function suggest(text, words) {
  const typing = /\w$/.test(text) ? words.at(-1) : "";
  const plain = known.filter((word) => /^\w/.test(word));
  const longer = plain.filter((word) => typing && word.startsWith(typing) && word !== typing);
  const buttons = (longer.length ? longer : plain).slice(0, 24).map((word) => {
    const button = document.createElement("button");
    button.textContent = word;
    button.addEventListener("click", () => {
      const kept = longer.length ? text.slice(0, text.length - typing.length) : text;
      $("words-prompt").value = (kept && !/\s$/.test(kept) ? kept + " " : kept) + word + " ";
      check();
      $("words-prompt").focus();
    });
    return button;
  });
  $("words-suggestions").replaceChildren(...buttons);
}

async function paint() {
  if ($("words-paint").disabled) return;
  const bar = $("words-progress");
  bar.hidden = false;
  bar.removeAttribute("value");
  const question = {
    preset: $("words-preset").value,
    prompt: $("words-prompt").value,
    steps: number("words-steps"),
    guidance: number("words-guidance"),
    seed: number("words-seed"),
  };
  await working($("words-paint"), $("words-status"), "Painting.", () =>
    follow("write", question, ({ done, of, pictures }) => {
      bar.value = done / of;
      const figures = pictures.map((source, n) => figure(source, `Picture ${n + 1}`));
      $("words-pictures").replaceChildren(...figures);
    })
  );
  bar.hidden = true;
}
