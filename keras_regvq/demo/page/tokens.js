// Tokens: a picture, what its tokens keep of it, and the codes behind them.

import { $, ask, figure, fillSelect, loadImage, look, showError, takeFiles, working } from "./common.js";

let file, found, tokens, book;
let place = null;
let chosen = null;
const undos = [];

export async function startTokens(presets) {
  fillSelect($("tokens-preset"), presets);
  $("tokens-preset").addEventListener("change", () => file && open());
  takeFiles($("tokens-file"), (picture) => {
    file = picture;
    open();
  });
  const grid = $("tokens-grid");
  grid.addEventListener("pointermove", (event) => say(at(event)));
  grid.addEventListener("click", (event) => {
    place = at(event);
    show();
  });
  $("tokens-codebook").addEventListener("click", choose);
  $("tokens-here").addEventListener("click", () => replace(false));
  $("tokens-all").addEventListener("click", () => replace(true));
  $("tokens-undo").addEventListener("click", () => {
    tokens = undos.pop();
    decode();
  });
}

function open() {
  const preset = $("tokens-preset").value;
  return working(null, $("tokens-status"), "Reading the picture.", async () => {
    found = await look(preset, file);
    if (!book || book.preset !== preset) {
      book = { preset, ...(await ask("codebook", { preset })) };
      book.image = await loadImage(book.sheet);
    }
    tokens = found.tokens;
    undos.length = 0;
    place = chosen = null;
    const decibels = (value) => `${value.toFixed(1)} dB`;
    $("tokens-pictures").replaceChildren(
      figure(found.picture, "Your picture"),
      figure(found.kept, `What the tokens keep: ${decibels(found.decibels)}, ${found.bytes} bytes`),
      figure(found.difference, "The difference, twice as large"),
      figure(found.webp.picture, `WebP: ${decibels(found.webp.decibels)}, ${found.webp.bytes} bytes`)
    );
    $("tokens-picture").src = found.kept;
    $("tokens-result").hidden = false;
    show();
  });
}

function at(event) {
  const box = $("tokens-grid").getBoundingClientRect();
  const row = Math.floor(((event.clientY - box.top) / box.height) * tokens.length);
  const column = Math.floor(((event.clientX - box.left) / box.width) * tokens[0].length);
  const inside = row >= 0 && column >= 0 && row < tokens.length && column < tokens[0].length;
  return inside ? [row, column] : null;
}

function uses(code) {
  return tokens.flat().filter((one) => one === code).length;
}

function say(where) {
  if (!where) return;
  const code = tokens[where[0]][where[1]];
  $("tokens-code").textContent =
    `Row ${where[0] + 1}, column ${where[1] + 1}: code ${code}, which is at ${uses(code)} places.`;
}

function show() {
  const grid = $("tokens-grid");
  const cell = 16;
  grid.height = tokens.length * cell;
  grid.width = tokens[0].length * cell;
  const context = grid.getContext("2d");
  const code = place && tokens[place[0]][place[1]];
  context.strokeStyle = "#8885";
  tokens.forEach((row, r) =>
    row.forEach((one, c) => {
      context.strokeRect(c * cell + 0.5, r * cell + 0.5, cell, cell);
      if (place && one === code) {
        context.fillStyle = "#ff08";
        context.fillRect(c * cell, r * cell, cell, cell);
      }
    })
  );
  if (place) {
    context.strokeStyle = "#f00";
    context.lineWidth = 2;
    context.strokeRect(place[1] * cell + 1, place[0] * cell + 1, cell - 2, cell - 2);
    say(place);
  }
  showCodebook(code);
  for (const id of ["tokens-here", "tokens-all"]) $(id).disabled = !place || chosen === null;
  $("tokens-undo").disabled = !undos.length;
}

const SIDE = 18;

function showCodebook(code) {
  const canvas = $("tokens-codebook");
  const rows = Math.ceil(found.codes / book.columns);
  canvas.width = book.columns * SIDE;
  canvas.height = rows * SIDE;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  const used = new Set(tokens.flat());
  for (let n = 0; n < found.codes; n++) {
    const [x, y] = [n % book.columns, Math.floor(n / book.columns)];
    const from = [x * book.patch, y * book.patch, book.patch, book.patch];
    context.drawImage(book.image, ...from, x * SIDE + 2, y * SIDE + 2, SIDE - 4, SIDE - 4);
    const colour = n === chosen ? "#06f" : n === code ? "#f00" : used.has(n) ? "#888" : null;
    if (!colour) continue;
    context.strokeStyle = colour;
    context.lineWidth = n === chosen || n === code ? 3 : 1;
    context.strokeRect(x * SIDE + 1, y * SIDE + 1, SIDE - 2, SIDE - 2);
  }
  const chosenText = chosen === null ? "" : ` Chosen: code ${chosen}, at ${uses(chosen)} places.`;
  $("tokens-usage").textContent = `${used.size} of ${found.codes} codes are in this picture.${chosenText}`;
}

function choose(event) {
  const box = $("tokens-codebook").getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * book.columns);
  const rows = Math.ceil(found.codes / book.columns);
  const row = Math.floor(((event.clientY - box.top) / box.height) * rows);
  const code = row * book.columns + column;
  if (code < found.codes) chosen = code;
  show();
}

function replace(everywhere) {
  const old = tokens[place[0]][place[1]];
  undos.push(tokens);
  tokens = tokens.map((row, r) =>
    row.map((one, c) => {
      const here = r === place[0] && c === place[1];
      return here || (everywhere && one === old) ? chosen : one;
    })
  );
  decode();
}

function decode() {
  show();
  return working(null, $("tokens-status"), "Decoding.", async () => {
    const answer = await ask("decode", { preset: $("tokens-preset").value, tokens });
    $("tokens-picture").src = answer.kept;
  }).catch((error) => showError(error.message));
}
