/** Before and after on top of each other, with a divider that mouse, finger and keyboard move, and a button on each face. */

import type { Made, Opened } from "../protocol";
import { byId } from "./page";

export class Comparison {
  private before = byId<HTMLCanvasElement>("before");
  private after = byId<HTMLCanvasElement>("after");
  private slider = byId<HTMLInputElement>("compare");
  private size = { width: 1, height: 1 };

  constructor(private toggle: (face: number) => void) {
    this.slider.addEventListener("input", () => this.place());
    for (const handle of [byId("divider"), byId("knob")]) {
      handle.addEventListener("pointerdown", (event) => {
        handle.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      handle.addEventListener("pointermove", (event) => {
        if (!handle.hasPointerCapture(event.pointerId)) return;
        const { left, width } = byId("stage").getBoundingClientRect();
        this.slider.value = String(Math.round(Math.min(100, Math.max(0, (100 * (event.clientX - left)) / width))));
        this.place();
      });
    }
  }

  open(opened: Opened): void {
    this.size = { width: opened.width, height: opened.height };
    const { width, height } = opened.preview, { style } = byId("stage");
    style.setProperty("--ratio", String(width / height));
    style.setProperty("--natural", String(width));
    for (const canvas of [this.before, this.after]) Object.assign(canvas, { width, height });
    draw(this.before, opened.preview);
    this.after.style.visibility = "hidden";
    byId("faces").replaceChildren();
    this.slider.value = "50";
    this.place();
  }

  result({ preview, faces }: Made, left: Set<number>): void {
    draw(this.after, preview);
    this.after.style.visibility = "";
    const focused = document.activeElement?.getAttribute("data-face"), buttons: HTMLElement[] = [];
    faces.forEach(({ box: [x, y, width, height], direction, outcome }, number) => {
      if (outcome !== "changed") return;
      const button = document.createElement("button"), share = (value: number, whole: number) => `${(100 * value) / whole}%`;
      button.type = "button";
      button.dataset.face = String(number);
      button.setAttribute("aria-pressed", String(!left.has(number)));
      button.setAttribute("aria-label", `Face ${number + 1}: ${left.has(number) ? "left as it was" : direction === "mask" ? "mask put on" : "mask taken off"}`);
      button.title = left.has(number) ? "Choose it to change it again" : "Choose it to leave it as it was";
      button.style.left = share(x, this.size.width);
      button.style.top = share(y, this.size.height);
      button.style.width = share(width, this.size.width);
      button.style.height = share(height, this.size.height);
      button.addEventListener("click", () => this.toggle(number));
      buttons.push(button);
    });
    byId("faces").replaceChildren(...buttons);
    if (focused) buttons.find((button) => button.dataset.face === focused)?.focus();
  }

  private place(): void {
    const share = Number(this.slider.value);
    byId("stage").style.setProperty("--at", `${share}%`);
    this.slider.setAttribute("aria-valuetext", `${share} % before, ${100 - share} % after`);
  }
}

function draw(canvas: HTMLCanvasElement, bitmap: ImageBitmap): void {
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  (canvas.getContext("bitmaprenderer") as ImageBitmapRenderingContext).transferFromImageBitmap(bitmap);
}
