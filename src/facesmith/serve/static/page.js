// The page: what is chosen, what was found, and how it is shown.
//
// The service is asked for all faces down to LOWEST; the slider only hides some of them, so it needs no request.

import { Camera } from "./camera.js";
import { draw } from "./drawing.js";
import * as service from "./service.js";

const LOWEST = 0.1;
const element = (id) => document.getElementById(id);
const shownBoxes = ["boxes", "scores", "landmarks", "mesh"];
const camera = new Camera();

let known = []; // models of the service
let picture = null; // { image, blob, name }
let results = []; // one for each chosen model
let asking = new AbortController();

/* ---- what is chosen ---- */

const chosenModels = () => [element("first").value, element("second").value].filter(Boolean);
const threshold = () => Number(element("threshold").value);
const hasMesh = (name) => known.some((model) => model.name === name && model.meshes);
const wantsMesh = (name) => element("mesh").checked && hasMesh(name);
const shown = () => Object.fromEntries(shownBoxes.map((id) => [id, element(id).checked]));
const visible = (result) => ({ ...result, faces: result.faces.filter((face) => face.score >= threshold()) });

function fillModels({ models, default: first }) {
  known = models;
  const options = models.map((model) => new Option(model.name, model.name, false, model.name === first));
  element("first").replaceChildren(...options);
  element("second").replaceChildren(new Option("nothing", ""), ...models.map(({ name }) => new Option(name, name)));
  if (!models.some((model) => model.meshes)) {
    element("mesh").disabled = true;
    element("mesh-label").title = "No model that is served gives meshes.";
  }
}

/* ---- asking ---- */

function say(text, isError = false) {
  element("status").textContent = text;
  element("status").classList.toggle("error", isError);
}

function found(image, blob, signal) {
  const ask = (model) => service.detect(blob, { model, threshold: LOWEST, mesh: wantsMesh(model), signal });
  return Promise.all(chosenModels().map(ask));
}

/** Ask for the faces of the picture at hand; an earlier question that is still open is dropped. */
async function ask() {
  if (!picture || camera.running) return;
  asking.abort();
  asking = new AbortController();
  say("Looking for faces…");
  try {
    results = await found(picture.image, picture.blob, asking.signal);
    show();
  } catch (error) {
    if (error.name === "AbortError") return;
    results = [];
    show();
    say(error.message, true);
  }
}

async function open(file) {
  if (!file) return;
  camera.stop();
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    say(`${file.name || "This"} is not a picture that this browser can show.`, true);
    return;
  }
  picture = { image, blob: file, name: (file.name || "picture").replace(/\.[^.]+$/, "") };
  results = [];
  show();
  await ask();
}

async function toggleCamera() {
  if (camera.running) return camera.stop();
  asking.abort();
  element("camera").setAttribute("aria-pressed", "true");
  element("camera").textContent = "Stop camera";
  say("Waiting for the camera…");
  try {
    await camera.run(async (image, blob) => {
      const now = await found(image, blob, undefined);
      if (!camera.running) return;
      picture = { image, blob, name: "camera" };
      results = now;
      show();
    });
  } catch (error) {
    say(error.message, true);
  }
  element("camera").setAttribute("aria-pressed", "false");
  element("camera").textContent = "Use camera";
}

/* ---- showing ---- */

function show() {
  element("drop").hidden = picture !== null;
  element("panels").hidden = picture === null;
  for (const id of ["save-picture", "save-json"]) element(id).disabled = results.length === 0;
  if (!picture) return;
  const panels = element("panels");
  const wanted = Math.max(1, results.length);
  while (panels.children.length > wanted) panels.lastChild.remove();
  while (panels.children.length < wanted) panels.append(newPanel());
  const none = { model: chosenModels()[0], faces: [], milliseconds: null };
  for (let i = 0; i < wanted; i++) fillPanel(panels.children[i], results[i] ? visible(results[i]) : none);
  if (results.length) say(results.map(summary).join(" · "));
}

function summary(result) {
  const count = visible(result).faces.length;
  const hidden = result.faces.length - count;
  const faces = `${count} ${count === 1 ? "face" : "faces"}`;
  const more = hidden ? ` (${hidden} more below ${threshold().toFixed(2)})` : "";
  return `${results.length > 1 ? `${result.model}: ` : ""}${faces}${more}`;
}

function newPanel() {
  const panel = document.createElement("figure");
  panel.innerHTML = `<div class="picture"><canvas></canvas></div>
    <figcaption><h2></h2><span class="count"></span> <span class="time"></span>
    <details><summary>Each face</summary><div class="faces" tabindex="0"><table>
    <thead><tr><th>score</th><th>left</th><th>top</th><th>width</th><th>height</th><th class="pose">yaw, pitch, roll</th></tr></thead>
    <tbody></tbody></table></div></details></figcaption>`;
  return panel;
}

function fillPanel(panel, result) {
  const count = result.faces.length;
  const canvas = panel.querySelector("canvas");
  paint(canvas, panel, result);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${picture.name}: ${count} faces found by ${result.model}`);
  panel.querySelector("h2").textContent = result.model;
  const seen = result.milliseconds !== null;
  panel.querySelector(".count").textContent = seen ? `${count} ${count === 1 ? "face" : "faces"}` : "";
  panel.querySelector(".time").textContent = seen ? `${Math.round(result.milliseconds)} ms` : "";
  panel.querySelector("tbody").replaceChildren(...result.faces.map(row));
  panel.querySelector(".pose").hidden = !result.faces.some((face) => face.pose);
}

function row({ score, box: [x1, y1, x2, y2], pose }) {
  const cells = [score.toFixed(3), ...[x1, y1, x2 - x1, y2 - y1].map((value) => value.toFixed(0))];
  if (pose) cells.push(pose.map((angle) => `${angle.toFixed(0)}°`).join(", "));
  const line = document.createElement("tr");
  line.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
  return line;
}

/** Draw as large as the panel and three quarters of the window allow, in the screen's own pixels. */
function paint(canvas, panel, result) {
  const { image } = picture;
  const fit = Math.min(panel.clientWidth / image.width, (0.74 * innerHeight) / image.height);
  const scale = Math.min(fit, Math.max(1, 360 / Math.max(image.width, image.height))) * devicePixelRatio;
  draw(canvas, image, result, { scale, line: 2 * devicePixelRatio, shown: shown() });
  canvas.style.width = `${canvas.width / devicePixelRatio}px`;
}

/* ---- saving ---- */

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function saveJson() {
  const rows = results.map(visible).map(({ model, width, height, faces }) => ({
    model, width, height, threshold: threshold(),
    faces: faces.map(({ vertices, ...face }) => face),
  }));
  save(new Blob([JSON.stringify(rows, null, 1)], { type: "application/json" }), `${picture.name}-faces.json`);
}

function savePicture() {
  const { image } = picture;
  const line = Math.max(1.5, Math.max(image.width, image.height) / 400);
  const all = document.createElement("canvas");
  all.width = image.width * results.length;
  all.height = image.height;
  results.forEach((result, index) => {
    const one = document.createElement("canvas");
    draw(one, image, visible(result), { scale: 1, line, shown: shown() });
    all.getContext("2d").drawImage(one, index * image.width, 0);
  });
  all.toBlob((blob) => {
    if (blob) save(blob, `${picture.name}-faces.jpg`);
    else say("This picture is too large for the browser to save.", true);
  }, "image/jpeg", 0.95);
}

/* ---- events ---- */

function meshChosen() {
  const giving = known.filter((model) => model.meshes);
  if (element("mesh").checked && giving.length && !chosenModels().some(hasMesh)) element("first").value = giving[0].name;
  ask();
}

function listen() {
  element("file").addEventListener("change", (event) => {
    open(event.target.files[0]);
    event.target.value = ""; // the same file may be chosen again
  });
  element("camera").addEventListener("click", toggleCamera);
  for (const id of ["first", "second"]) element(id).addEventListener("change", ask);
  element("mesh").addEventListener("change", meshChosen);
  for (const id of ["boxes", "scores", "landmarks"]) element(id).addEventListener("change", show);
  element("threshold").addEventListener("input", () => {
    element("threshold-value").value = threshold().toFixed(2);
    show();
  });
  element("controls").addEventListener("submit", (event) => event.preventDefault());
  element("save-json").addEventListener("click", saveJson);
  element("save-picture").addEventListener("click", savePicture);
  addEventListener("paste", (event) => open([...event.clipboardData.files].find((file) => file.type.startsWith("image/"))));
  addEventListener("resize", show);
  for (const kind of ["dragover", "dragleave", "drop"]) {
    addEventListener(kind, (event) => {
      event.preventDefault(); // a browser would leave the page for the picture
      element("stage").classList.toggle("dragging", kind === "dragover");
      if (kind === "drop") open(event.dataTransfer.files[0]);
    });
  }
}

async function start() {
  element("host").textContent = location.host;
  element("address").textContent = new URL(".", location.href).href;
  listen();
  try {
    fillModels(await service.models());
    say("");
  } catch (error) {
    say(error.message, true);
  }
}

start();
