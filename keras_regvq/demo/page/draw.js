// Draw: a map of labels, exact to the pixel, and pictures of it.

import { $, ask, figure, fillSelect, loadImage, number, showError, working } from "./common.js";

let size, palette, names, labels, painted, tokens;
let label = 0;
const undos = [];

export async function startDraw(presets) {
  fillSelect($("draw-preset"), presets);
  $("draw-preset").addEventListener("change", () => load().catch((e) => showError(e.message)));
  $("draw-paint").addEventListener("click", () => paint(false));
  $("draw-repaint").addEventListener("click", () => paint(true));
  $("draw-undo").addEventListener("click", undo);
  $("draw-clear").addEventListener("click", () => change(() => labels.fill(label)));
  $("draw-upload").addEventListener("change", upload);
  $("draw-save").addEventListener("click", save);
  const canvas = $("draw-canvas");
  canvas.addEventListener("pointerdown", begin);
  canvas.addEventListener("pointermove", (event) => event.buttons && last && stroke(event));
  canvas.addEventListener("pointerup", () => (last = null));
  canvas.addEventListener("keydown", (event) => event.ctrlKey && event.key === "z" && undo());
  await load();
}

async function load() {
  const facts = await ask("maps", { preset: $("draw-preset").value });
  ({ size, palette, names } = facts);
  labels = Uint8Array.from(facts.map);
  painted = tokens = null;
  undos.length = 0;
  const canvas = $("draw-canvas");
  [canvas.height, canvas.width] = size;
  $("draw-palette").replaceChildren(...names.map(paletteButton));
  choose(Math.min(label, names.length - 1));
  $("draw-pictures").replaceChildren();
  show();
}

function paletteButton(name, number) {
  const button = document.createElement("button");
  const colour = document.createElement("i");
  colour.style.background = `rgb(${palette[number].join(",")})`;
  button.append(colour, name);
  button.dataset.label = number;
  button.addEventListener("click", () => choose(number));
  return button;
}

function choose(number) {
  label = number;
  for (const button of $("draw-palette").children)
    button.setAttribute("aria-pressed", Number(button.dataset.label) === number);
}

function show() {
  const context = $("draw-canvas").getContext("2d");
  const picture = context.createImageData(size[1], size[0]);
  labels.forEach((value, place) => picture.data.set([...palette[value], 255], 4 * place));
  context.putImageData(picture, 0, 0);
  $("draw-repaint").disabled = !tokens || !painted.some((value, place) => value !== labels[place]);
  $("draw-undo").disabled = !undos.length;
}

function change(work) {
  undos.push(labels.slice());
  if (undos.length > 100) undos.shift();
  work();
  show();
}

function undo() {
  if (undos.length) labels = undos.pop();
  show();
}

let last = null;

function place(event) {
  const box = $("draw-canvas").getBoundingClientRect();
  const along = (at, start, length, count) =>
    Math.min(count - 1, Math.max(0, Math.floor(((at - start) / length) * count)));
  return [
    along(event.clientY, box.top, box.height, size[0]),
    along(event.clientX, box.left, box.width, size[1]),
  ];
}

function begin(event) {
  event.preventDefault();
  $("draw-canvas").focus();
  $("draw-canvas").setPointerCapture(event.pointerId);
  undos.push(labels.slice());
  if (document.querySelector("[name=draw-tool]:checked").value === "fill") {
    fill(...place(event));
    show();
    return;
  }
  last = place(event);
  stroke(event);
}

function stroke(event) {
  const [row, column] = place(event);
  const steps = Math.max(Math.abs(row - last[0]), Math.abs(column - last[1]), 1);
  for (let step = 0; step <= steps; step++) {
    const between = (a, b) => Math.round(a + ((b - a) * step) / steps);
    dot(between(last[0], row), between(last[1], column));
  }
  last = [row, column];
  show();
}

function dot(row, column) {
  const radius = number("draw-size") / 2;
  for (let r = Math.ceil(row - radius); r <= row + radius; r++)
    for (let c = Math.ceil(column - radius); c <= column + radius; c++) {
      const inside = r >= 0 && c >= 0 && r < size[0] && c < size[1];
      if (inside && Math.hypot(r - row, c - column) < radius + 0.01) labels[r * size[1] + c] = label;
    }
}

function fill(row, column) {
  const [height, width] = size;
  const old = labels[row * width + column];
  const waiting = old === label ? [] : [[row, column]];
  while (waiting.length) {
    const [r, c] = waiting.pop();
    if (r < 0 || c < 0 || r >= height || c >= width || labels[r * width + c] !== old) continue;
    labels[r * width + c] = label;
    waiting.push([r + 1, c], [r - 1, c], [r, c + 1], [r, c - 1]);
  }
}

// A map that was saved here, or any picture in the labels' colours: each pixel the nearest one.
async function upload(event) {
  const file = event.target.files[0];
  event.target.value = "";
  if (!file) return;
  const source = URL.createObjectURL(file);
  try {
    showError("");
    const image = await loadImage(await dataUrl(file));
    const canvas = new OffscreenCanvas(size[1], size[0]);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, size[1], size[0]);
    const pixels = context.getImageData(0, 0, size[1], size[0]).data;
    change(() => labels.forEach((_, at) => (labels[at] = nearest(pixels.slice(4 * at, 4 * at + 3)))));
  } catch (error) {
    showError(error.message);
  } finally {
    URL.revokeObjectURL(source);
  }
}

function dataUrl(file) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.readAsDataURL(file);
  });
}

function nearest(colour) {
  const distance = (one) => one.reduce((sum, value, c) => sum + (value - colour[c]) ** 2, 0);
  const distances = palette.map(distance);
  return distances.indexOf(Math.min(...distances));
}

function save() {
  const link = document.createElement("a");
  link.href = $("draw-canvas").toDataURL("image/png");
  link.download = "map.png";
  link.click();
}

async function paint(again) {
  const question = {
    preset: $("draw-preset").value,
    labels: [...labels],
    seed: number("draw-seed"),
    temperature: number("draw-temperature"),
    top_p: number("draw-top-p"),
    guidance: number("draw-guidance"),
  };
  if (again) {
    question.tokens = tokens;
    question.changed = painted.reduce((all, value, at) => [...all, Number(value !== labels[at])], []);
  }
  const drawn = labels.slice();
  const button = again ? $("draw-repaint") : $("draw-paint");
  await working(button, $("draw-status"), "Painting.", async () => {
    const answer = await ask("paint", question);
    tokens = answer.tokens;
    painted = drawn;
    const pictures = answer.pictures.map((source, n) => figure(source, `Picture ${n + 1}`));
    $("draw-pictures").replaceChildren(...pictures);
  });
  show();
}
