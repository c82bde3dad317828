/** The 478 face landmarks of MediaPipe's mesh with the head's pose, as in `maskhub.faces.landmarks`. */

import { type Face, SURE } from "./detect";
import type { Networks } from "../networks";
import { clamp, type Matrix, type Picture, type Point } from "../vision/image";
import { shrink } from "../vision/filter";
import { warp } from "../vision/warp";

export const PRESENT = 0.6;
const SURE_FACE = 0.85, NEAR = 0.066, TURNED = 0.12;
const LIKELY_FACE = 0.78, TURNED_NEAR = 0.08, TURNED_YAW = 30;
/** Further crops for a head that is turned far: degrees, scale, and shift towards the nose in widths of the box. */
const LOOKS = [
  [[0, 1, 0.3], [0, 1, 0], [-15, 1, 0.3], [-15, 0.8, 0], [0, 0.8, 0.3], [15, 1, 0]],
  [
    [0, 1, 0.15], [-15, 1, 0.15], [-15, 0.8, 0.15], [-15, 0.8, 0], [0, 0.8, 0.15], [0, 0.8, 0.3],
    [0, 1, 0.3], [0, 1.25, 0.15], [-15, 1.25, 0.3],
  ],
];
/** How much wider than high each group of crops shows the face. */
const STRETCH = [1, 1.35];
const SIDE = 256;
const BOX_SCALE = 1.25, BOX_CENTRE = 0.55, EXTENT_SCALE = 1.5;
const SHARES = Float32Array.from({ length: 256 }, (_, value) => value / 255);
const PAIRS = [[33, 263], [133, 362], [234, 454], [127, 356], [162, 389], [93, 323], [132, 361], [70, 300], [50, 280], [205, 425]];
const FOREHEAD = [10, 151, 9, 8], BELOW_NOSE = [2, 164, 94];

export interface Landmarks {
  /** 478 × (x, y, z) in the photo's pixels */
  points: Float64Array;
  /** 0 to 1; below PRESENT the points are unreliable */
  presence: number;
  /** 3×3, row by row, from the head's axes to the photo's */
  rotation: Float64Array;
}

type Look = { points: Float64Array; presence: number };

/** Find the landmarks of a detected face. */
export async function landmarks(networks: Networks, image: Picture, face: Face): Promise<Landmarks> {
  const { centre, side, across, down } = frame(face);
  let found = await look(networks, image, centre, side, across), passes = 1;
  if (found.presence < PRESENT) {
    const tries: [number, Point][] = [[1.4, across], [0.8, across]];
    if (face.score < SURE) tries.push([1.2, down], [1.2, [-across[0], -across[1]]], [1.2, [-down[0], -down[1]]]);
    for (const [scale, axis] of tries) {
      const again = await look(networks, image, centre, scale * side, axis);
      if (again.presence > found.presence) found = again;
      if (found.presence >= PRESENT) {
        passes = 2;
        break;
      }
    }
  }
  if (passes === 2) {
    const closer = await look(networks, image, ...framed(found.points));
    if (closer.presence >= Math.min(found.presence, PRESENT)) found = closer;
  }
  return { ...found, rotation: rotationOf(found.points) };
}

/**
 * Whether a mask can be drawn by these landmarks: they are present, or the detector found eyes, nose and mouth there, and
 * either it is confident or both see a profile.
 */
export function reliable(marks: Landmarks, face: Face): boolean {
  return sure(marks, face) || profile(marks, face);
}

function sure(marks: Landmarks, face: Face): boolean {
  return marks.presence >= PRESENT || (face.score >= SURE_FACE && apart(marks.points, face) <= NEAR);
}

function profile(marks: Landmarks, face: Face): boolean {
  const beside = aside(face), turned = face.score >= LIKELY_FACE && Math.abs(beside) >= TURNED;
  return turned && Math.sign(beside) * yaw(marks.rotation) >= TURNED_YAW && apart(marks.points, face) <= TURNED_NEAR;
}

/** Degrees, positive where the nose points to the picture's right on an upright face. */
function yaw(rotation: Float64Array): number {
  const roll = Math.atan2(rotation[3], rotation[0]), cos = Math.cos(roll), sin = Math.sin(roll);
  const [x, y, z] = [-rotation[2], -rotation[5], -rotation[8]];
  return (Math.atan2(cos * x + sin * y, Math.hypot(z, cos * y - sin * x)) * 180) / Math.PI;
}

/** How far the nose lies beside the middle of the eyes, in widths of the box. */
function aside(face: Face): number {
  const { across } = frame(face), [right, other, nose] = face.points;
  const x = nose[0] - (right[0] + other[0]) / 2, y = nose[1] - (right[1] + other[1]) / 2;
  return (across[0] * x + across[1] * y) / face.box[2];
}

/** The landmarks, or if they aren't reliable those of a few more crops that lie nearest to the detector's points. */
export async function surestLandmarks(networks: Networks, image: Picture, face: Face): Promise<Landmarks> {
  let best = await landmarks(networks, image, face);
  const { centre, side, across, angle } = frame(face), beside = aside(face), sign = Math.sign(beside);
  for (const [group, looks] of LOOKS.entries()) {
    // only of turned heads: on anything else the network imagines a frontal face sooner or later
    if (face.score < LIKELY_FACE || Math.abs(beside) < TURNED || sure(best, face)) break;
    for (const [turn, scale, shift] of looks) {
      const axis = angle + (sign * turn * Math.PI) / 180, away = sign * shift * face.box[2];
      const at: Point = [centre[0] + away * across[0], centre[1] + away * across[1]];
      const found = await look(networks, image, at, scale * side, [Math.cos(axis), Math.sin(axis)], STRETCH[group]);
      const marks = { ...found, rotation: rotationOf(found.points) }, better = reliable(marks, face);
      // in a distorted crop the network sooner or later is sure of a frontal face
      if (STRETCH[group] > 1 && !profile(marks, face)) continue;
      const nearer = apart(marks.points, face) < apart(best.points, face);
      if (better === reliable(best, face) ? nearer : better) best = marks;
    }
  }
  return best;
}

/** Mean distance between landmarks and a detected face's five points, in face sizes. */
function apart(points: Float64Array, face: Face): number {
  const at = (i: number): number[] => [points[3 * i], points[3 * i + 1]];
  const between = (i: number, j: number): number[] => at(i).map((value, k) => (value + at(j)[k]) / 2);
  const five = [between(33, 133), between(263, 362), at(1), at(61), at(291)];
  const off = five.reduce((sum, [x, y], i) => sum + Math.hypot(x - face.points[i][0], y - face.points[i][1]) / 5, 0);
  return off / Math.max(face.box[2], face.box[3]);
}

/** The crop of the first pass, and the head's axes. */
function frame(face: Face): { centre: Point; side: number; across: Point; down: Point; angle: number } {
  const [left, top, width, height] = face.box, [right, other] = face.points;
  const angle = Math.atan2(other[1] - right[1], other[0] - right[0]);
  const across: Point = [Math.cos(angle), Math.sin(angle)], down: Point = [-across[1], across[0]];
  const larger = Math.max(width, height), shift = (BOX_CENTRE - 0.5) * larger;
  const centre: Point = [left + width / 2 + shift * down[0], top + height / 2 + shift * down[1]];
  return { centre, side: BOX_SCALE * larger, across, down, angle };
}

/** The crop of the second pass: its centre, side and axis, from the first pass's landmarks. */
function framed(points: Float64Array): [Point, number, Point] {
  const dx = points[3 * 263] - points[3 * 33], dy = points[3 * 263 + 1] - points[3 * 33 + 1];
  const length = Math.max(Math.hypot(dx, dy), 1e-6);
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < points.length; i += 3) {
    for (const k of [0, 1]) {
      low[k] = Math.min(low[k], points[i + k]);
      high[k] = Math.max(high[k], points[i + k]);
    }
  }
  const side = EXTENT_SCALE * Math.max(high[0] - low[0], high[1] - low[1]);
  return [[(low[0] + high[0]) / 2, (low[1] + high[1]) / 2], side, [dx / length, dy / length]];
}

/** Run the network on one turned square crop, in which the face is `stretch` times as wide as in the photo. */
async function look(
  networks: Networks, image: Picture, centre: Point, side: number, across: Point, stretch = 1,
): Promise<Look> {
  const down: Point = [-across[1], across[0]], scale = SIDE / side, zoom = side / SIDE;
  const [a, b, c, d] = [across[0] * scale * stretch, across[1] * scale * stretch, down[0] * scale, down[1] * scale];
  let matrix: Matrix = [a, b, SIDE / 2 - (a * centre[0] + b * centre[1]), c, d, SIDE / 2 - (c * centre[0] + d * centre[1])];
  let source = image;
  if (zoom > 2) [source, matrix] = shrunk(image, matrix, centre, side, zoom);
  const crop = warp(source, matrix, SIDE, SIDE), data = new Float32Array(crop.data.length);
  for (let i = 0; i < data.length; i++) data[i] = SHARES[crop.data[i]];
  const out = await networks.run("landmarks", { data, dims: [1, SIDE, SIDE, 3] });
  const at = out.Identity, points = new Float64Array(at.length);
  for (let i = 0; i < at.length; i += 3) {
    const x = (at[i] - SIDE / 2) / stretch, y = at[i + 1] - SIDE / 2;
    points[i] = Math.fround((across[0] * x + down[0] * y) * zoom + centre[0]);
    points[i + 1] = Math.fround((across[1] * x + down[1] * y) * zoom + centre[1]);
    points[i + 2] = Math.fround(at[i + 2] * zoom);
  }
  return { points, presence: 1 / (1 + Math.exp(-clamp(out.Identity_1[0], -60, 60))) };
}

/** The part of the photo around the crop, scaled down by an integer factor, and its matrix. */
function shrunk(image: Picture, matrix: Matrix, centre: Point, side: number, zoom: number): [Picture, Matrix] {
  const factor = Math.floor(zoom), reach = side * 0.75;
  const x0 = Math.trunc(clamp(centre[0] - reach, 0, image.width - factor)), y0 = Math.trunc(clamp(centre[1] - reach, 0, image.height - factor));
  const x1 = Math.trunc(clamp(centre[0] + reach, x0 + factor, image.width)), y1 = Math.trunc(clamp(centre[1] + reach, y0 + factor, image.height));
  const width = Math.floor((x1 - x0) / factor), height = Math.floor((y1 - y0) / factor);
  const part = cut(image, x0, y0, width * factor, height * factor);
  const [a, b, c, d, e, f] = matrix, half = (factor - 1) / 2;
  return [shrink(part, width, height), [
    a * factor, b * factor, c + a * (x0 + half) + b * (y0 + half), d * factor, e * factor, f + d * (x0 + half) + e * (y0 + half),
  ]];
}

/** A part of a picture, its first three channels. */
export function cut(image: Picture, left: number, top: number, width: number, height: number): Picture {
  const data = new Uint8ClampedArray(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    let from = ((top + y) * image.width + left) * image.channels;
    for (let x = 0; x < width; x++, from += image.channels, to += 3) {
      for (let k = 0; k < 3; k++) data[to + k] = image.data[from + k];
    }
  }
  return { data, width, height, channels: 3 };
}

/** The head's axes in the photo, from its mirror symmetry and the line down its forehead and nose. */
export function rotationOf(points: Float64Array): Float64Array {
  const x = [0, 0, 0], y = [0, 0, 0];
  for (let k = 0; k < 3; k++) {
    for (const [right, left] of PAIRS) x[k] += points[3 * left + k] - points[3 * right + k];
    for (const i of BELOW_NOSE) y[k] += points[3 * i + k] / BELOW_NOSE.length;
    for (const i of FOREHEAD) y[k] -= points[3 * i + k] / FOREHEAD.length;
  }
  const lengthX = Math.hypot(...x) + 1e-9;
  for (let k = 0; k < 3; k++) x[k] /= lengthX;
  const along = x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
  for (let k = 0; k < 3; k++) y[k] -= along * x[k];
  const lengthY = Math.hypot(...y) + 1e-9;
  for (let k = 0; k < 3; k++) y[k] /= lengthY;
  const z = [x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]];
  return Float64Array.from([0, 1, 2].flatMap((k) => [x[k], y[k], z[k]]));
}
