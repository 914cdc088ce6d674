// Compare: one picture, several tokenizers.

import { $, look, showError, takeFiles, working } from "./common.js";

let file;

export async function startCompare(presets) {
  const boxes = presets.map((name, n) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = name;
    box.checked = n < 2;
    box.addEventListener("change", () => file && compare());
    label.append(box, " ", name);
    return label;
  });
  $("compare-presets").replaceChildren(...boxes);
  takeFiles($("compare-file"), (picture) => {
    file = picture;
    compare();
  });
}

function cell(content, tag = "td") {
  const made = document.createElement(tag);
  made.append(content);
  return made;
}

function picture(source, alt) {
  const image = document.createElement("img");
  image.src = source;
  image.alt = alt;
  return image;
}

async function compare() {
  const names = [...$("compare-presets").querySelectorAll(":checked")].map((box) => box.value);
  if (!names.length) return showError("Choose at least one tokenizer.");
  const head = document.createElement("tr");
  const titles = ["tokenizer", "picture", "kept", "difference", "dB", "bytes", "WebP of no more bytes"];
  head.append(...titles.map((text) => cell(text, "th")));
  await working(null, $("compare-status"), "Reading the picture.", async () => {
    const rows = [];
    $("compare-table").replaceChildren(); // what another picture gave
    for (const name of names) {
      const found = await look(name, file);
      const row = document.createElement("tr");
      row.append(
        cell(name, "th"),
        cell(picture(found.picture, "the picture")),
        cell(picture(found.kept, `what ${name} keeps`)),
        cell(picture(found.difference, "the difference")),
        cell(found.decibels.toFixed(1)),
        cell(String(found.bytes)),
        cell(`${found.webp.decibels.toFixed(1)} dB, ${found.webp.bytes} bytes`)
      );
      rows.push(row);
      $("compare-table").replaceChildren(head, ...rows);
    }
  });
}
