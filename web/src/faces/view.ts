/** A photo as it is searched for faces, and what is known about each detection in it, as in `maskhub.faces.view`. */

import type { Networks } from "../networks";
import { shrink } from "../vision/filter";
import { apply, inverse, type Matrix, type Picture, type Point, rint, scaleOf } from "../vision/image";
import { warp } from "../vision/warp";
import { type Face, turnedFrom } from "./face";
import { PRESENT } from "./mesh";
import { type Settled, settled } from "./settle";
import { worn } from "./worn";
import { findRows, type Row, STRIDES } from "./yunet";

export const MARGIN = 0.15;
const LEAST = 24;
const DOUBTFUL = 0.5, HIDDEN = 0.35;
export const WORN = 0.8;
export const CERTAIN = 0.99;
export const SMALL = 32;
const ELSEWHERE = 15, ASKEW = 35;
const UPRIGHT = 1.116;

/** A photo as it is searched: its scaled copy, with a margin where it is needed. */
export class View {
  readonly pad: Point;
  private readonly zoom: Point;
  private turnable: Picture | null = null;
  private readonly known = new Map<string, Settled | null>();
  private readonly masked = new Map<string, number>();

  private constructor(readonly networks: Networks, readonly photo: Picture, readonly image: Picture, private threshold: number) {
    this.pad = [padOf(image.width), padOf(image.height)];
    this.zoom = [image.width / photo.width, image.height / photo.height];
  }

  /** The view of a photo that is scaled down until its longer side, with its margin, is at most `maxSide`. */
  static of(networks: Networks, photo: Picture, maxSide: number, threshold: number): View {
    const scale = Math.min(1, maxSide / (Math.max(photo.height, photo.width) * (1 + 2 * MARGIN)));
    if (scale >= 1) return new View(networks, photo, photo, threshold);
    const width = Math.max(1, rint(photo.width * scale)), height = Math.max(1, rint(photo.height * scale));
    return new View(networks, photo, shrink(photo, width, height), threshold);
  }

  get padded(): Picture {
    return (this.turnable ??= padReplicate(this.image, ...this.pad));
  }

  /** The detections from the threshold on, and the doubtful ones below; most confident first. */
  async find(image: Picture, pad: Point = [0, 0]): Promise<[Row[], Row[]]> {
    const rows = await findRows(this.networks, image, Math.min(this.threshold, HIDDEN), ...pad);
    const sure = (row: Row): boolean => row[14] >= Math.fround(this.threshold);
    return [rows.filter(sure), rows.filter((row) => !sure(row))];
  }

  /** The face of a row found in the padded image. */
  face(row: Row): Face {
    return faceOf(row, this.pad, this.zoom);
  }

  /** The row of a face, the inverse of `face`. */
  row({ box, points, score }: Face): Row {
    const place = ([x, y]: Point): Point => [x * this.zoom[0] + this.pad[0], y * this.zoom[1] + this.pad[1]];
    const size = [box[2] * this.zoom[0], box[3] * this.zoom[1]];
    return Float32Array.from([...place([box[0], box[1]]), ...size, ...points.flatMap(place), score]);
  }

  /** The face of a row placed by its landmarks, or null. */
  async settled(row: Row, surely = true): Promise<Settled | null> {
    const key = `${row.join()} ${surely}`;
    if (!this.known.has(key)) this.known.set(key, await settled(this.networks, this.photo, this.face(row), surely));
    return this.known.get(key) ?? null;
  }

  /** Whether landmarks show the face in the orientation of its row. */
  async stands(row: Row, surely = true): Promise<boolean> {
    const found = await this.settled(row, surely);
    return found !== null && found.presence >= PRESENT && turnedFrom(found.face, this.face(row)) <= ELSEWHERE;
  }

  /** The landmark network's confidence that there is a face as in its row, 0 to 1. */
  async presence(row: Row): Promise<number> {
    const found = await this.settled(row, false);
    return found !== null && turnedFrom(found.face, this.face(row)) <= ASKEW ? found.presence : 0;
  }

  /** Confidence that the face of a row wears a mask. */
  async worn(row: Row): Promise<number> {
    const key = row.join(), face = this.face(row);
    if (!this.masked.has(key)) {
      this.masked.set(key, Math.min(face.box[2], face.box[3]) >= SMALL ? await worn(this.networks, this.photo, face) : 0);
    }
    return this.masked.get(key) ?? 0;
  }

  /** 2 if the mask detector is certain of a mask, 1 if it is sure enough to confirm a face, otherwise 0. */
  async maskGrade(row: Row): Promise<number> {
    const confidence = await this.worn(row);
    return Number(confidence >= WORN) + Number(confidence >= CERTAIN);
  }

  /** Whether landmarks show that a doubtful row is a face. */
  async settles(row: Row): Promise<boolean> {
    return row[14] >= DOUBTFUL && (await this.settled(row)) !== null;
  }

  /** Whether a mask shows that a doubtful row of a turned photo is a face, and landmarks stay on it. */
  async shows(row: Row): Promise<boolean> {
    if (row[14] < DOUBTFUL || (await this.worn(row)) < WORN) return false;
    return trusted(await this.settled(row, false), this.face(row));
  }
}

/** The margin in pixels, as in Python: reduced by whole cells of YuNet's coarsest grid while enough of it remains. */
function padOf(side: number): number {
  const whole = rint(side * MARGIN), spare = whole - Math.max((side * MARGIN) / 3, LEAST);
  return whole - STRIDES[2] * Math.max(Math.floor(spare / STRIDES[2]), 0);
}

function padReplicate(image: Picture, padX: number, padY: number): Picture {
  return warp(image, [1, 0, padX, 0, 1, padY], image.width + 2 * padX, image.height + 2 * padY);
}

/** The face of a row in a picture of `scale` times the photo's size with a margin of `pad` pixels. */
export function faceOf(row: Row, pad: Point, scale: Point): Face {
  const at = (i: number): Point => [Math.fround((row[i] - pad[0]) / scale[0]), Math.fround((row[i + 1] - pad[1]) / scale[1])];
  const [left, top] = at(0);
  return {
    box: [left, top, Math.fround(row[2] / scale[0]), Math.fround(row[3] / scale[1])],
    points: [4, 6, 8, 10, 12].map(at),
    score: row[14],
  };
}

/** The most confident row of the same face as `row`, and not a neighbour's; or null. */
export function ownRow(rows: Row[], row: Row): Row | null {
  const middle = (one: Row): Point => [one[0] + one[2] / 2, one[1] + one[3] / 2], [x, y] = middle(row);
  const reach = 0.5 * Math.max(row[2], row[3]);
  return rows.find((one) => Math.hypot(middle(one)[0] - x, middle(one)[1] - y) < reach) ?? null;
}

/** Whether a sure detection may be of a face that is upside down. */
export function overturned(row: Row): boolean {
  const below = (row[5] + row[7] + 2 * row[9]) / 4 - row[1] - row[3] / 2;
  return row[3] - 3 * below < UPRIGHT * row[2];
}

/** Whether the landmarks of a face, or null, are trusted to place it. */
export function trusted(found: Settled | null, face: Face): found is Settled {
  return found !== null && (found.presence >= PRESENT || turnedFrom(found.face, face) <= ASKEW);
}

/** The image turned clockwise on a canvas that holds all of it, and the matrix of the turn. */
export function turnedCopy(image: Picture, degrees: number): { matrix: Matrix; turned: Picture } {
  const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180);
  const { width, height } = image;
  const newWidth = rint(Math.abs(width * cos) + Math.abs(height * sin));
  const newHeight = rint(Math.abs(width * sin) + Math.abs(height * cos));
  const x = (width - 1) / 2, y = (height - 1) / 2, toX = (newWidth - 1) / 2, toY = (newHeight - 1) / 2;
  const matrix: Matrix = [cos, -sin, toX - (cos * x - sin * y), sin, cos, toY - (sin * x + cos * y)];
  return { matrix, turned: warp(image, matrix, newWidth, newHeight) };
}

/** The matrix to a square window with the middle of a box in its middle, turned upright by the roll in radians, and scaled. */
export function uprightWindow([left, top, width, height]: Face["box"], roll: number, scale: number, side: number): Matrix {
  const x = left + width / 2, y = top + height / 2, middle = (side - 1) / 2;
  const cos = scale * Math.cos(roll), sin = scale * Math.sin(roll);
  return [cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y];
}

/** Rows found in a `turnedCopy` or an `uprightWindow`, mapped back to the original image. */
export function rowsTurnedBack(rows: Row[], matrix: Matrix, degrees: number): Row[] {
  const back = inverse(matrix), zoom = scaleOf(matrix);
  const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180);
  return rows.map((row) => {
    const out = row.slice();
    const [x, y] = apply(back, [row[0] + row[2] / 2, row[1] + row[3] / 2]);
    // the face is an ellipse in its box: take the turned ellipse's box
    out[2] = Math.hypot(row[2] * cos, row[3] * sin) / zoom;
    out[3] = Math.hypot(row[2] * sin, row[3] * cos) / zoom;
    out[0] = x - out[2] / 2;
    out[1] = y - out[3] / 2;
    for (let i = 4; i < 14; i += 2) [out[i], out[i + 1]] = apply(back, [row[i], row[i + 1]]);
    return out;
  });
}
