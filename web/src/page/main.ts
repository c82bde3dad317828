/** The page: connects the controls to the worker, which does all computing. */

import { Client } from "../client";
import { download } from "../download";
import { described } from "../outcomes";
import type { Options } from "../pipeline";
import { named } from "../styles";
import { Camera } from "./camera";
import { Comparison } from "./comparison";
import { EXAMPLES } from "./examples";
import { prepareOffline } from "./offline";
import { byId, listen, say, show } from "./page";

interface State {
  name: string;
  seed: number;
  leave: Set<number>;
  open: boolean;
}

const state: State = { name: "photo", seed: 0, leave: new Set(), open: false };
const comparison = new Comparison((number) => {
  if (!state.leave.delete(number)) state.leave.add(number);
  void translate();
});
let client: Client, camera: Camera;
/** Number of the newest request; late answers to older ones are dropped. */
let turn = 0;

function options(): Options {
  const direction = document.querySelector<HTMLInputElement>("input[name=direction]:checked")!.value as Options["direction"];
  return { direction, style: byId<HTMLSelectElement>("style").value, seed: state.seed };
}

async function openPhoto(file: Blob, name: string): Promise<void> {
  const mine = ++turn;
  say("Looking for faces…");
  try {
    const opened = await client.ask("open", { file, name });
    if (mine !== turn) return opened.preview.close();
    Object.assign(state, { name: name.replace(/\.[^.]*$/, "") || "photo", seed: 0, leave: new Set(), open: true });
    comparison.open(opened);
    show("drop", false);
    show("result", true);
    if (!opened.faces.length) return say("", "No face was found. Use a photo in which a face is at least 30 pixels wide.");
    await translate();
  } catch (error) {
    if (mine === turn) say("", (error as Error).message);
  }
}

async function translate(): Promise<void> {
  if (!state.open || byId("photo").hidden) return; // with the camera, the options are the camera's
  const mine = ++turn, asked = options();
  byId("result").setAttribute("aria-busy", "true");
  saving(false);
  say("Working…");
  try {
    const made = await client.ask("translate", { options: asked, leave: [...state.leave] });
    if (mine !== turn) return made.preview.close();
    comparison.result(made, state.leave);
    say(`${described(made.faces, state.leave)}. ${made.seconds.toFixed(2)} s.`);
    saving(true);
  } catch (error) {
    if (mine === turn) say("", (error as Error).message);
  } finally {
    if (mine === turn) byId("result").setAttribute("aria-busy", "false");
  }
}

function saving(possible: boolean): void {
  for (const id of ["png", "jpeg"]) byId<HTMLButtonElement>(id).disabled = !possible;
}

async function save(format: "png" | "jpeg"): Promise<void> {
  const blob = await client.ask("save", { format });
  download(blob, `${state.name}-maskhub.${format === "png" ? "png" : "jpg"}`);
}

function closePhoto(): void {
  turn++;
  state.open = false;
  void client.ask("close", null);
  show("drop", true);
  show("result", false);
  say("Ready.");
  byId<HTMLInputElement>("file").value = "";
  byId("file").focus();
}

function switchTo(mode: "photo" | "camera"): void {
  for (const one of ["photo", "camera"] as const) {
    show(one, one === mode);
    byId(`mode-${one}`).setAttribute("aria-pressed", String(one === mode));
  }
  if (mode === "photo") camera.stop();
  say("");
  void translate(); // the options may be others now
}

function takeFile(files: FileList | null | undefined): void {
  const file = [...(files ?? [])].find((one) => one.type.startsWith("image/") || /\.(heic|heif)$/i.test(one.name)) ?? files?.[0];
  if (!file) return;
  if (byId("photo").hidden) switchTo("photo");
  void openPhoto(file, file.name || "pasted");
}

function addExamples(): void {
  for (const { file, label } of EXAMPLES) {
    const item = document.createElement("li"), button = document.createElement("button"), image = document.createElement("img");
    Object.assign(image, { src: `examples/${file}`, alt: label, height: 112 });
    button.type = "button";
    button.append(image);
    listen(button, "click", async () => openPhoto(await (await fetch(image.src)).blob(), file));
    item.append(button);
    byId("examples").append(item);
  }
}

function wire(): void {
  listen("file", "change", () => takeFile(byId<HTMLInputElement>("file").files));
  for (const type of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(type, (event) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", type === "dragover");
      if (type === "drop") takeFile((event as DragEvent).dataTransfer?.files);
    });
  }
  document.addEventListener("paste", (event) => takeFile(event.clipboardData?.files));
  for (const radio of document.querySelectorAll("input[name=direction]")) listen(radio as HTMLElement, "change", translate);
  listen("style", "change", translate);
  listen("another", "click", () => {
    state.seed++;
    return translate();
  });
  listen("png", "click", () => save("png"));
  listen("jpeg", "click", () => save("jpeg"));
  listen("clear", "click", closePhoto);
  listen("mode-photo", "click", () => switchTo("photo"));
  listen("mode-camera", "click", () => switchTo("camera"));
  listen("start", "click", () => camera.toggle());
  listen("snapshot", "click", async () => download(await client.ask("snapshot", { format: "png" }), "camera-maskhub.png"));
}

async function start(): Promise<void> {
  if (await prepareOffline()) return; // the page reloads with the headers that threads need
  client = new Client(document.baseURI);
  const view = { live: byId<HTMLCanvasElement>("live"), start: byId<HTMLButtonElement>("start"), snapshot: byId<HTMLButtonElement>("snapshot"), rate: byId("rate"), off: byId("camera-off"), say };
  camera = new Camera(client, () => ({ direction: options().direction, style: options().style ?? "random", seed: state.seed }), view);
  addExamples();
  wire();
  say("Loading the networks…");
  const begun = performance.now(), webgpu = new URLSearchParams(location.search).has("webgpu");
  const { styles, device, threads, version } = await client.ask("load", { webgpu });
  for (const style of styles) byId("style").append(new Option(named(style), style));
  byId("engine").textContent = `maskhub ${version}, ${device === "webgpu" ? "WebGPU" : `${threads} ${threads === 1 ? "thread" : "threads"}`}, loaded in ${((performance.now() - begun) / 1000).toFixed(1)} s.`;
  if (!state.open) say("Ready.");
  document.documentElement.dataset.ready = "yes";
  await client.ask("rest", null);
  const kept = Boolean(navigator.serviceWorker?.controller);
  byId("offline").textContent = kept ? "Ready offline: try it now." : "This browser can't store the page for offline use.";
  document.documentElement.dataset.offline = "yes";
}

start().catch((error: Error) => say("", `maskhub could not be loaded: ${error.message} Load the page again.`));
