/**
 * The camera as a component for any page of the same origin: `import("/browser/camera.js").then(({ mount }) => mount(element))`.
 * The networks are loaded when the camera is first started. It stops when the element is hidden or removed.
 */

import { Client } from "./client";
import type { Direction } from "./direction";
import { download } from "./download";
import { Camera } from "./page/camera";
import { named } from "./styles";

const MARKUP = `
<style>
  :host { display: block; font: inherit; color: inherit; }
  [hidden] { display: none !important; }
  .row { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: .5rem 0; }
  fieldset { display: contents; }
  legend { float: left; margin-right: .5rem; }
  label { display: inline-flex; gap: .35rem; align-items: center; min-height: 2.25rem; }
  button, select { font: inherit; color: inherit; background: transparent; border: 1px solid color-mix(in srgb, currentColor 55%, transparent); border-radius: .5rem; min-height: 2.5rem; padding: .35rem .9rem; cursor: pointer; }
  option { color: #17202a; background: #fff; }
  button:disabled { opacity: .55; cursor: default; }
  :focus-visible { outline: 3px solid #0f766e; outline-offset: 2px; }
  #screen { position: relative; max-width: 40rem; aspect-ratio: 4 / 3; overflow: hidden; border-radius: .6rem; border: 1px solid color-mix(in srgb, currentColor 25%, transparent); }
  canvas { display: block; width: 100%; height: 100%; object-fit: contain; }
  #off { position: absolute; inset: 0; display: grid; place-items: center; margin: 0; padding: 1rem; text-align: center; }
  #rate { position: absolute; left: .5rem; top: .5rem; margin: 0; padding: .1rem .5rem; border-radius: .4rem; background: #000c; color: #fff; font-size: .9rem; }
  #rate:empty { display: none; }
  p { margin: .4rem 0 0; }
  #problem { font-weight: 600; }
</style>
<div class="row">
  <fieldset><legend>Masks</legend>
    <label><input type="radio" name="direction" value="auto" checked> Automatic</label>
    <label><input type="radio" name="direction" value="mask"> Put on</label>
    <label><input type="radio" name="direction" value="unmask"> Take off</label>
  </fieldset>
  <label>Kind of mask <select id="style"><option value="random">Any</option></select></label>
  <button id="another" type="button">Another mask</button>
</div>
<div id="screen">
  <canvas id="live" role="img" aria-label="The camera's picture with masks put on or taken off"></canvas>
  <p id="rate" aria-hidden="true"></p>
  <p id="off">The camera is off.</p>
</div>
<div class="row">
  <button id="start" type="button">Start the camera</button>
  <button id="snapshot" type="button" disabled>Take a picture</button>
</div>
<p id="status" role="status" aria-live="polite"></p>
<p id="problem" role="alert"></p>`;

export function mount(host: HTMLElement): void {
  const root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
  root.innerHTML = MARKUP;
  const at = <T extends HTMLElement>(id: string): T => root.querySelector(`#${id}`) as T;
  const say = (status: string, problem = ""): void => {
    at("status").textContent = status;
    at("problem").textContent = problem;
  };
  let seed = 0, camera: Promise<Camera> | null = null;
  const options = () => ({
    direction: root.querySelector<HTMLInputElement>("input[name=direction]:checked")!.value as Direction | "auto",
    style: at<HTMLSelectElement>("style").value, seed,
  });

  const load = async (): Promise<Camera> => {
    const client = new Client(new URL(".", import.meta.url));
    say("Loading the networks (12 MB, once)…");
    const { styles } = await client.ask("load", { webgpu: false });
    for (const style of styles) at("style").append(new Option(named(style), style));
    const view = { live: at<HTMLCanvasElement>("live"), start: at<HTMLButtonElement>("start"), snapshot: at<HTMLButtonElement>("snapshot"), rate: at("rate"), off: at("off"), say };
    const made = new Camera(client, options, view);
    new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting || entry.boundingClientRect.width) return; // visible, or just scrolled away
      made.stop();
      if (!host.isConnected) client.close();
    }).observe(host);
    at("snapshot").addEventListener("click", async () => download(await client.ask("snapshot", { format: "png" }), "camera-maskhub.png"));
    return made;
  };

  at("another").addEventListener("click", () => seed++);
  at("start").addEventListener("click", async () => {
    try {
      await (await (camera ??= load())).toggle();
    } catch (error) {
      say("", (error as Error).message);
    }
  });
}
