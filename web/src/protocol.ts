/** The messages between the page and its worker. */

import type { Direction } from "./direction";
import type { Outcome } from "./outcomes";
import type { Options } from "./pipeline";

export interface FaceReport {
  /** left, top, width, height in the photo's pixels */
  box: [number, number, number, number];
  direction: Direction;
  outcome: Outcome;
}

export interface Opened {
  width: number;
  height: number;
  /** the photo, at most PREVIEW pixels a side */
  preview: ImageBitmap;
  faces: FaceReport["box"][];
}

export interface Made {
  preview: ImageBitmap;
  faces: FaceReport[];
  seconds: number;
}

export interface Framed {
  bitmap: ImageBitmap;
  faces: number;
  milliseconds: number;
}

/** A frame of the camera: a VideoFrame where the browser has them, which costs no copy. */
export type Shot = VideoFrame | ImageBitmap;

export interface CameraOptions {
  direction: Direction | "auto";
  style: string;
  seed: number;
}

/** Name of a request → its argument and its answer. */
export interface Requests {
  load: { given: { webgpu: boolean }; answer: { version: string; model: string; styles: string[]; device: string; threads: number } };
  open: { given: { file: Blob; name: string }; answer: Opened };
  translate: { given: { options: Options; leave: number[] }; answer: Made };
  /** forget the photo and its result */
  close: { given: null; answer: null };
  save: { given: { format: "png" | "jpeg" }; answer: Blob };
  frame: { given: { shot: Shot; seconds: number; options: CameraOptions }; answer: Framed };
  snapshot: { given: { format: "png" | "jpeg" }; answer: Blob };
  stopCamera: { given: null; answer: null };
  /** load everything else, so that the page works offline */
  rest: { given: null; answer: null };
}

export interface Answer {
  id: number;
  answer?: unknown;
  error?: string;
}
