/** The camera: sends one frame at a time to the worker and shows the result, as fast as possible. */

import type { Client } from "../client";
import type { CameraOptions } from "../protocol";

const WIDTH = 640, HEIGHT = 480;
/** Frames over which the rate is measured. */
const LAST = 12;

/** The elements of a camera, and a function that shows its status. */
export interface View {
  live: HTMLCanvasElement;
  start: HTMLButtonElement;
  snapshot: HTMLButtonElement;
  rate: HTMLElement;
  /** shown while it is off */
  off: HTMLElement;
  say: (status: string, problem?: string) => void;
}

export class Camera {
  private stream: MediaStream | null = null;

  constructor(private client: Client, private options: () => CameraOptions, private view: View) {}

  async toggle(): Promise<void> {
    if (this.stream) this.stop();
    else await this.start();
  }

  stop(): void {
    if (!this.stream) return;
    const { start, snapshot, rate, off, say } = this.view;
    this.stream.getTracks().forEach((track) => track.stop());
    this.stream = null;
    start.textContent = "Start the camera";
    snapshot.disabled = true;
    rate.textContent = "";
    off.hidden = false;
    say("The camera is off.");
    void this.client.ask("stopCamera", null);
  }

  private async start(): Promise<void> {
    let stream: MediaStream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: WIDTH }, height: { ideal: HEIGHT }, facingMode: "user" } });
    } catch (error) {
      const why = (error as Error).name === "NotAllowedError" ? "The browser was not allowed to use it." : "No camera was found, or another program is using it.";
      throw new Error(`The camera can't be used. ${why}`);
    }
    this.stream = stream;
    const video = document.createElement("video");
    Object.assign(video, { srcObject: stream, muted: true, playsInline: true });
    await video.play();
    this.view.start.textContent = "Stop the camera";
    this.view.off.hidden = true;
    this.view.say("The camera is on.");
    void this.run(video, stream);
  }

  private async run(video: HTMLVideoElement, stream: MediaStream): Promise<void> {
    const { live, snapshot, rate, say } = this.view, shown = live.getContext("bitmaprenderer") as ImageBitmapRenderingContext;
    const times: number[] = [];
    while (this.stream === stream) {
      try {
        const shot = "VideoFrame" in window ? new VideoFrame(video) : await createImageBitmap(video), seconds = performance.now() / 1000;
        const made = await this.client.ask("frame", { shot, seconds, options: this.options() }, [shot]);
        if (this.stream !== stream) return made.bitmap.close();
        const { width, height } = made.bitmap;
        if (live.width !== width || live.height !== height) Object.assign(live, { width, height });
        shown.transferFromImageBitmap(made.bitmap);
        snapshot.disabled = false;
        if (times.push(performance.now()) > LAST) times.shift();
        const perSecond = times.length > 1 ? (1000 * (times.length - 1)) / (times[times.length - 1] - times[0]) : 0;
        rate.textContent = `${perSecond.toFixed(1)} frames/s, ${made.faces} ${made.faces === 1 ? "face" : "faces"}`;
      } catch (error) {
        this.stop();
        say("", (error as Error).message);
      }
    }
  }
}
