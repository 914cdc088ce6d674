// The tabs, and what each needs before it is first shown.

import { $, describe, showError } from "./common.js";
import { startCompare } from "./compare.js";
import { startDraw } from "./draw.js";
import { startTokens } from "./tokens.js";
import { startWords } from "./words.js";

const starts = { draw: startDraw, words: startWords, tokens: startTokens, compare: startCompare };
const started = new Set();

async function show(tab, presets) {
  showError("");
  for (const button of document.querySelectorAll("[role=tab]"))
    button.setAttribute("aria-selected", button.dataset.tab === tab);
  for (const name of Object.keys(starts)) $(name).hidden = name !== tab;
  if (started.has(tab)) return;
  started.add(tab);
  try {
    await starts[tab](presets);
  } catch (error) {
    started.delete(tab);
    showError(error.message);
  }
}

async function main() {
  const facts = await describe();
  $("backend").textContent = `keras_regvq on ${facts.backend}`;
  const ofTab = (tab) => facts.presets.filter((one) => one.tab === tab).map((one) => one.name);
  const presets = { draw: ofTab("draw"), words: ofTab("words"), tokens: ofTab("tokens") };
  presets.tokens = facts.presets.map((one) => one.name).sort((a, b) => presets.tokens.includes(b) - presets.tokens.includes(a));
  presets.compare = presets.tokens;
  let first = null;
  for (const button of document.querySelectorAll("[role=tab]")) {
    const tab = button.dataset.tab;
    button.disabled = presets[tab].length === 0;
    if (button.disabled) button.title = "No --preset is for this.";
    else first ??= tab;
    button.addEventListener("click", () => show(tab, presets[tab]));
  }
  await show(first, presets[first]);
}

main().catch((error) => showError(error.message));
