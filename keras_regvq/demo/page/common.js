// What all tabs share: questions to the server, errors, small helpers.

export const $ = (id) => document.getElementById(id);

export function showError(text) {
  $("error").textContent = text;
  $("error").hidden = !text;
}

async function answerOf(response) {
  const answer = await response.json().catch(() => ({ error: "The server has no answer." }));
  if (!response.ok) throw new Error(answer.error || "The server has no answer.");
  return answer;
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch {
    throw new Error("The server cannot be reached. Is the command still running?");
  }
}

export async function ask(name, question) {
  const options = { method: "POST", body: JSON.stringify(question) };
  return answerOf(await reach("/api/" + name, options));
}

export async function describe() {
  return answerOf(await reach("/api/describe"));
}

export async function look(preset, file) {
  const path = "/api/look?preset=" + encodeURIComponent(preset);
  return answerOf(await reach(path, { method: "POST", body: file }));
}

// Calls `show` with each line of JSON that comes while the server works.
export async function follow(name, question, show) {
  const options = { method: "POST", body: JSON.stringify(question) };
  const response = await reach("/api/" + name, options);
  if (!response.ok) return answerOf(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const answer = JSON.parse(line);
      if (answer.error) throw new Error(answer.error);
      show(answer);
    }
  }
}

// Runs one piece of work: its button is off meanwhile, the status counts seconds, errors are shown.
export async function working(button, status, text, work) {
  if (button) button.disabled = true;
  showError("");
  const start = performance.now();
  const tell = () => {
    const seconds = Math.round((performance.now() - start) / 1000);
    const first = seconds > 4 ? " The first time takes longer: the model is loaded and compiled." : "";
    status.textContent = `${text} ${seconds} s.${first}`;
  };
  tell();
  const clock = setInterval(tell, 1000);
  try {
    await work();
    status.textContent = `Done in ${((performance.now() - start) / 1000).toFixed(1)} s.`;
  } catch (error) {
    status.textContent = "";
    showError(error.message);
  } finally {
    clearInterval(clock);
    if (button) button.disabled = false;
  }
}

export function figure(source, caption) {
  const made = document.createElement("figure");
  const image = document.createElement("img");
  image.src = source;
  image.alt = caption;
  const text = document.createElement("figcaption");
  text.textContent = caption;
  made.append(image, text);
  return made;
}

export function fillSelect(select, names) {
  select.replaceChildren(...names.map((name) => new Option(name, name)));
}

// A drop zone with a file input: `take` gets each picture file.
export function takeFiles(input, take) {
  const zone = input.closest(".drop");
  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  if (!zone) return;
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

export const number = (id) => Number($(id).value);

export function loadImage(source) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error("That file is no picture that the browser can read."));
    image.src = source;
  });
}
