/**
 * Draws masks on faces in whole photos by rule, and takes masks off: detection, aligned crop, network, paste. Mirrors
 * `maskhub.pipelines.face_mask`; every pixel outside the changed regions is the photo's own, bit for bit.
 */

import { alignment, crop, paste, type Pasted, type Rectangle } from "./faces/align";
import { changedRegion, widerFor } from "./changed";
import type { Direction } from "./direction";
import { detect } from "./faces/detect";
import type { Face } from "./faces/face";
import { worn } from "./faces/worn";
import { type Rule, type WearOptions } from "./masks/wear";
import { type Networks, type ReadFile, toInput } from "./networks";
import type { Outcome } from "./outcomes";
import { timed } from "./stages";
import { type Field, type Matrix, type Picture, picture } from "./vision/image";

/** Presence from which a face counts as masked, as in `maskhub.masks.detector`. */
export const MASKED = 0.5;

/** The content of `models/pipeline.json`, written by `export.py`. */
export interface About {
  version: string;
  model: string;
  resolution: number;
  wear: string | null;
}

/** One face and its outcome. */
export interface Translated {
  face: Face;
  direction: Direction;
  outcome: Outcome;
  /** 0 to 1: the mask detector's confidence that a mask is worn; null if it was not run */
  presence: number | null;
  /** where a mask was taken off: the crop's translation, its map from the photo, and its opacity in the photo */
  made?: Picture;
  matrix?: Matrix;
  region?: Field;
  /** where a mask was drawn: the part of the photo that shows it, and its opacity */
  drawn?: { part: Picture; room: Rectangle; region: Field };
}

export interface Options {
  /** "auto": remove masks where worn, add them elsewhere */
  direction: Direction | "auto";
  /** translate every face, even one that needs no change */
  force?: boolean;
  /** of drawn masks */
  seed?: number;
  style?: string;
  colour?: string | null;
}

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
    const out: Translated[] = [];
    for (const [number, face] of faces.entries()) {
      const presence = options.force ? null : await this.maskPresence(photo, face), masked = (presence ?? 0) >= MASKED;
      const needed: Direction = masked ? "unmask" : "mask", direction = options.direction === "auto" ? needed : options.direction;
      if (direction !== needed && !options.force) {
        out.push({ face, direction, presence, outcome: masked ? "already masked" : "no mask worn" });
      } else out.push({ face, direction, presence, ...(await this.translateFace(photo, face, number, direction, options)) });
    }
    return out;
  }

  /** The mask detector's confidence that a face wears a mask, 0 to 1. */
  maskPresence(photo: Picture, face: Face): Promise<number> {
    return worn(this.networks, photo, face);
  }

  /** Take the mask off an aligned crop, with the network only. */
  async unmaskCrop(given: Picture): Promise<Picture> {
    const made = await this.networks.run("unmasker", toInput(given));
    return fromOutput(made.translated, given.width);
  }

  private async translateFace(
    photo: Picture, face: Face, number: number, direction: Direction, options: Options,
  ): Promise<Pick<Translated, "outcome" | "made" | "matrix" | "region" | "drawn">> {
    if (direction === "mask") {
      const how: WearOptions = { style: options.style ?? "random", colour: options.colour ?? null, seed: (options.seed ?? 0) + number };
      const worn = await this.rule.wear(this.networks, photo, face, how);
      return worn ? { outcome: "changed", drawn: worn } : { outcome: "not clear enough" };
    }
    const side = this.about.resolution;
    let matrix = alignment(face, side), before = cutOut(photo, matrix, side), made = await this.unmaskCrop(before);
    const wider = widerFor(before, made, matrix, photo);
    if (wider > 1) {
      matrix = alignment(face, side, wider);
      before = cutOut(photo, matrix, side);
      made = await this.unmaskCrop(before);
    }
    return { outcome: "changed", made, matrix, region: timed("region", () => changedRegion(before, made, matrix, photo)) };
  }
}

/** Paste translated faces into a copy of the photo, the largest last, so that it is on top. */
export function compose(photo: Picture, faces: Translated[]): { image: Picture; pasted: Pasted[] } {
  return timed("paste", () => composed(photo, faces));
}

function composed(photo: Picture, faces: Translated[]): { image: Picture; pasted: Pasted[] } {
  const image: Picture = { ...photo, data: photo.data.slice() };
  const pasted: Pasted[] = [];
  for (const { made, region, matrix, drawn } of [...faces].reverse()) {
    if (drawn) pasted.push(pasteDrawing(image, drawn));
    if (!made || !region || !matrix) continue;
    const part = paste(image, made, region, matrix);
    if (part) pasted.push(part);
  }
  return { image, pasted };
}

/** Put a drawn mask into a photo, in place, where it shows. */
function pasteDrawing(photo: Picture, { part, room, region }: NonNullable<Translated["drawn"]>): Pasted {
  for (let y = 0, i = 0; y < room.height; y++) {
    let at = ((room.top + y) * photo.width + room.left) * photo.channels;
    for (let x = 0; x < room.width; x++, i++, at += photo.channels) {
      if (region.data[i] > 0) for (let k = 0; k < 3; k++) photo.data[at + k] = part.data[part.channels * i + k];
    }
  }
  return { ...room, weight: region.data };
}

function cutOut(photo: Picture, matrix: Matrix, side: number): Picture {
  return timed("align", () => crop(photo, matrix, side));
}

function fromOutput(values: Float32Array, side: number): Picture {
  const out = picture(side, side);
  for (let i = 0; i < values.length; i++) out.data[i] = (values[i] + 1) * 127.5;
  return out;
}
