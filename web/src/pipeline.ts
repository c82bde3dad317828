/**
 * Puts masks on faces in whole photos and takes them off: detection, aligned crop, network, paste. Mirrors
 * `maskhub.pipelines.face_mask`; every pixel outside the changed regions is the photo's own, bit for bit.
 */

import { alignment, crop, paste, type Pasted } from "./faces/align";
import { changedRegion, widerFor } from "./changed";
import { detect, type Face } from "./faces/detect";
import { type Rule, type WearOptions } from "./masks/wear";
import type { Networks, ReadFile } from "./networks";
import { Noise } from "./noise";
import { timed } from "./stages";
import { type Field, type Matrix, type Picture, picture } from "./vision/image";

export type Direction = "mask" | "unmask";

/** Presence from which a face counts as masked. */
export const MASKED = 0.5;
/** The same where masks are only put on, as in `maskhub.masks.detector`. */
export const SURELY_MASKED = 0.8;

/** The content of `models/pipeline.json`, written by `export.py`. */
export interface About {
  version: string;
  model: string;
  resolution: number;
  maskDetectorResolution: number;
  noise: { deviation: number; sizes: [number, number][] };
  wear: string | null;
}

/** The outcome for a face, as in `maskhub.pipelines.outcomes`. */
export type Outcome = "changed" | "no mask worn" | "already masked" | "not clear enough";

/** One face and its outcome. */
export interface Translated {
  face: Face;
  direction: Direction;
  outcome: Outcome;
  /** 0 to 1: the mask detector's confidence that a mask is worn; null if it was not run */
  presence: number | null;
  /** the aligned crop, its translation, and the map from the photo to both */
  crop?: Picture;
  made?: Picture;
  matrix?: Matrix;
  /** opacity of the translation in the photo */
  region?: Field;
}

export interface Options {
  /** "auto": remove masks where worn, add them elsewhere */
  direction: Direction | "auto";
  /** translate every face, even one that needs no change */
  force?: boolean;
  /** of drawn masks and of the fabric's noise */
  seed?: number;
  style?: string;
  colour?: string | null;
}

/** The presence from which a face counts as masked. */
export const maskedFrom = (direction: Options["direction"]): number => (direction === "mask" ? SURELY_MASKED : MASKED);

export class Pipeline {
  constructor(readonly networks: Networks, readonly about: About, readonly rule: Rule) {}

  static async load(networks: Networks, read: ReadFile, rule: Rule): Promise<Pipeline> {
    const about = JSON.parse(new TextDecoder().decode(await read("models/pipeline.json"))) as About;
    return new Pipeline(networks, about, rule);
  }

  /** The faces of a photo, largest first. */
  find(photo: Picture): Promise<Face[]> {
    return timed("find", () => detect(this.networks, photo));
  }

  /** Translate faces of a photo, which is not modified. */
  async translate(photo: Picture, faces: Face[], options: Options): Promise<Translated[]> {
    const noise = new Noise(options.seed ?? 0), out: Translated[] = [];
    for (const [number, face] of faces.entries()) {
      const presence = options.force ? null : await this.maskPresence(photo, face), masked = (presence ?? 0) >= maskedFrom(options.direction);
      const needed: Direction = masked ? "unmask" : "mask", direction = options.direction === "auto" ? needed : options.direction;
      if (direction !== needed && !options.force) {
        out.push({ face, direction, presence, outcome: masked ? "already masked" : "no mask worn" });
      } else out.push({ face, direction, presence, ...(await this.translateFace(photo, face, number, direction, options, noise)) });
    }
    return out;
  }

  /** The mask detector's confidence that a face wears a mask, 0 to 1. */
  async maskPresence(photo: Picture, face: Face): Promise<number> {
    const side = this.about.maskDetectorResolution;
    const images = toInput(cutOut(photo, alignment(face, side), side));
    const { presence } = await this.networks.run("mask-detector", { images });
    return 1 / (1 + Math.exp(-presence[0]));
  }

  /** Run one aligned crop through a network only. */
  async translateCrop(given: Picture, direction: Direction, noise: Noise): Promise<Picture> {
    const inputs = { images: toInput(given), ...(direction === "mask" ? this.drawNoise(noise) : {}) };
    const made = await this.networks.run(direction === "mask" ? "masker" : "unmasker", inputs);
    return fromOutput(made.translated, given.width);
  }

  private async translateFace(
    photo: Picture, face: Face, number: number, direction: Direction, options: Options, noise: Noise,
  ): Promise<Pick<Translated, "outcome" | "crop" | "made" | "matrix" | "region">> {
    const side = this.about.resolution;
    let matrix = alignment(face, side), before = cutOut(photo, matrix, side);
    if (direction === "mask") {
      const how: WearOptions = { style: options.style ?? "random", colour: options.colour ?? null, seed: (options.seed ?? 0) + number };
      const worn = await this.rule.wear(this.networks, photo, face, how);
      if (!worn) return { outcome: "not clear enough" };
      let given = cutOut(worn, matrix, side);
      const wider = widerFor(before, given, matrix, photo);
      if (wider > 1) {
        matrix = alignment(face, side, wider);
        [before, given] = [cutOut(photo, matrix, side), cutOut(worn, matrix, side)];
      }
      return changed(photo, before, await this.translateCrop(given, direction, noise), matrix);
    }
    let made = await this.translateCrop(before, direction, noise);
    const wider = widerFor(before, made, matrix, photo);
    if (wider > 1) {
      matrix = alignment(face, side, wider);
      before = cutOut(photo, matrix, side);
      made = await this.translateCrop(before, direction, noise);
    }
    return changed(photo, before, made, matrix);
  }

  private drawNoise(noise: Noise): Record<string, { data: Float32Array; dims: number[] }> {
    const { deviation, sizes } = this.about.noise;
    return Object.fromEntries(sizes.map(([height, width], level) => {
      const data = noise.normal(height * width).map((value) => value * deviation);
      return [`noise_${level}`, { data, dims: [1, 1, height, width] }];
    }));
  }
}

/** Paste translated faces into a copy of the photo, the largest last, so that it is on top. */
export function compose(photo: Picture, faces: Translated[]): { image: Picture; pasted: Pasted[] } {
  return timed("paste", () => composed(photo, faces));
}

function composed(photo: Picture, faces: Translated[]): { image: Picture; pasted: Pasted[] } {
  const image: Picture = { ...photo, data: photo.data.slice() };
  const pasted: Pasted[] = [];
  for (const { made, region, matrix } of [...faces].reverse()) {
    if (!made || !region || !matrix) continue;
    const part = paste(image, made, region, matrix);
    if (part) pasted.push(part);
  }
  return { image, pasted };
}

function cutOut(photo: Picture, matrix: Matrix, side: number): Picture {
  return timed("align", () => crop(photo, matrix, side));
}

function changed(photo: Picture, before: Picture, made: Picture, matrix: Matrix) {
  return { outcome: "changed" as const, crop: before, made, matrix, region: timed("region", () => changedRegion(before, made, matrix, photo)) };
}

const NORMALISED = Float32Array.from({ length: 256 }, (_, value) => value / 127.5 - 1);

function toInput({ data: pixels, width, height, channels }: Picture): { data: Float32Array; dims: number[] } {
  const size = width * height, data = new Float32Array(3 * size);
  for (let i = 0, at = 0; i < size; i++, at += channels) {
    data[i] = NORMALISED[pixels[at]];
    data[i + size] = NORMALISED[pixels[at + 1]];
    data[i + 2 * size] = NORMALISED[pixels[at + 2]];
  }
  return { data, dims: [1, 3, height, width] };
}

function fromOutput(values: Float32Array, side: number): Picture {
  const out = picture(side, side), size = side * side;
  for (let i = 0, at = 0; i < size; i++) {
    out.data[at++] = (values[i] + 1) * 127.5;
    out.data[at++] = (values[i + size] + 1) * 127.5;
    out.data[at++] = (values[i + 2 * size] + 1) * 127.5;
  }
  return out;
}
