/** The camera: one frame at a time to the worker and back, as fast as it can. */

import type { Client } from "../client";
import type { CameraOptions } from "../protocol";
import { byId, say, show } from "./page";

const WIDTH = 640, HEIGHT = 480;

export class Camera {
  private stream: MediaStream | null = null;

  constructor(private client: Client, private options: () => CameraOptions) {}

  async toggle(): Promise<void> {
    if (this.stream) this.stop();
    else await this.start();
  }

  stop(): void {
    if (!this.stream) return;
    this.stream.getTracks().forEach((track) => track.stop());
    this.stream = null;
    byId("start").textContent = "Start the camera";
    byId<HTMLButtonElement>("snapshot").disabled = true;
    byId("rate").textContent = "";
    show("camera-off", true);
    say("The camera is off.");
    void this.client.ask("stopCamera", null);
  }

  private async start(): Promise<void> {
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH }, height: { ideal: HEIGHT }, facingMode: "user" } });
    } catch (error) {
      const why = (error as Error).name === "NotAllowedError" ? "The browser was not allowed to use it." : "There is none, or another program uses it.";
      throw new Error(`The camera can't be used. ${why}`);
    }
    this.stream = stream;
    const video = document.createElement("video");
    Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    byId("start").textContent = "Stop the camera";
    show("camera-off", false);
    say("The camera is on.");
    void this.run(video, stream);
  }

  private async run(video: HTMLVideoElement, stream: MediaStream): Promise<void> {
    const canvas = byId<HTMLCanvasElement>("live"), shown = canvas.getContext("bitmaprenderer") as ImageBitmapRenderingContext;
    const times: number[] = [];
    while (this.stream === stream) {
      try {
        const bitmap = await createImageBitmap(video), seconds = performance.now() / 1000;
        const made = await this.client.ask("frame", { bitmap, seconds, options: this.options() }, [bitmap]);
        if (this.stream !== stream) return made.bitmap.close();
        Object.assign(canvas, { width: made.bitmap.width, height: made.bitmap.height });
        shown.transferFromImageBitmap(made.bitmap);
        byId<HTMLButtonElement>("snapshot").disabled = false;
        times.push(performance.now());
        if (times.length > 12) times.shift();
        const rate = times.length > 1 ? (1000 * (times.length - 1)) / (times[times.length - 1] - times[0]) : 0;
        byId("rate").textContent = `${rate.toFixed(1)} frames/s, ${made.faces} ${made.faces === 1 ? "face" : "faces"}`;
      } catch (error) {
        this.stop();
        say("", (error as Error).message);
      }
    }
  }
}
