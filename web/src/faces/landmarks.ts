/** The 478 face landmarks of MediaPipe's mesh with the head's pose, as in `maskhub.faces.landmarks`. */

import { agreed } from "./agreed";
import { SURE } from "./detect";
import { angleOf, type Face } from "./face";
import { look, PRESENT } from "./mesh";
import { WORN } from "./view";
import { worn } from "./worn";
import type { Networks } from "../networks";
import type { Picture, Point } from "../vision/image";
import { solve } from "../vision/numbers";

const SURE_FACE = 0.85, NEAR = 0.066, TURNED = 0.1;
const LIKELY_FACE = 0.78, TURNED_NEAR = 0.08, TURNED_YAW = 30;
/** How the mean face is placed better than by the fit alone: size, and face widths towards the nose and down. */
const NEAR_TURNED = 0.05, POSED_SCALE = 0.98, POSED_SHIFT = [-0.01, 0.02];
const BOX_SCALE = 1.25, BOX_CENTRE = 0.55, EXTENT_SCALE = 1.5;
const PAIRS = [[33, 263], [133, 362], [234, 454], [127, 356], [162, 389], [93, 323], [132, 361], [70, 300], [50, 280], [205, 425]];
const FOREHEAD = [10, 151, 9, 8], BELOW_NOSE = [2, 164, 94];

export interface Landmarks {
  /** 478 × (x, y, z) in the photo's pixels */
  points: Float64Array;
  /** 0 to 1; below PRESENT the points are unreliable */
  presence: number;
  /** 3×3, row by row, from the head's axes to the photo's */
  rotation: Float64Array;
  /** whether several detections of a turned head agree on this place; the points are then reliable at any presence */
  agreed?: boolean;
}

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
 * either it is confident or both see a profile, or several detections of a bare profile agree.
 */
export function reliable(marks: Landmarks, face: Face): boolean {
  return marks.agreed || sure(marks, face) || (face.score >= LIKELY_FACE && profile(marks, face));
}

function sure(marks: Landmarks, face: Face): boolean {
  return marks.presence >= PRESENT || (face.score >= SURE_FACE && apart(marks.points, face) <= NEAR);
}

function profile(marks: Landmarks, face: Face): boolean {
  const beside = aside(face), turned = Math.abs(beside) >= TURNED && Math.sign(beside) * yaw(marks.rotation) >= TURNED_YAW;
  return turned && apart(marks.points, face) <= TURNED_NEAR;
}

/** Degrees, positive where the nose points to the picture's right on an upright face. */
export function yaw(rotation: Float64Array): number {
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

/** The landmarks, or where the network is unsure of a head that is turned far, those of the mean face (468 × 3). */
export async function surestLandmarks(networks: Networks, image: Picture, face: Face, mean: number[]): Promise<Landmarks> {
  const marks = await landmarks(networks, image, face);
  if (marks.presence >= PRESENT || (face.score >= SURE_FACE && apart(marks.points, face) <= NEAR_TURNED)) return marks;
  const posed = posedMeanFace(face, mean);
  if (face.score >= LIKELY_FACE && profile(posed, face)) return posed;
  if (reliable(marks, face)) return marks;
  const found = await agreed(networks, image, face), again = found && posedMeanFace(found, mean);
  if (!found || !again || !profile(again, found) || (await worn(networks, image, found)) >= WORN) return marks;
  return { ...again, agreed: true };
}

/** The mean face, placed and turned by a detected face's five points. */
export function posedMeanFace(face: Face, mean: number[]): Landmarks {
  const places = five(mean, 3), axes = [0, 1, 2], [middle, centre] = [averaged(places), averaged(face.points)];
  const model = places.map((place) => axes.map((k) => place[k] - middle[k]));
  const normal = axes.map((k) => Float64Array.from(axes, (l) => model.reduce((sum, row) => sum + row[k] * row[l], 0)));
  const seen = axes.map((k) => Float64Array.from([0, 1], (d) => model.reduce((sum, row, i) => sum + row[k] * (face.points[i][d] - centre[d]), 0)));
  const rows = solve(normal, seen), [x, y] = [0, 1].map((d) => axes.map((k) => rows[k][d]));
  // the nearest rows of one length that are perpendicular: divided by the root of their 2×2 products
  const [xx, xy, yy] = [dot(x, x), dot(x, y), dot(y, y)], det = Math.sqrt(Math.max(xx * yy - xy * xy, 1e-9));
  const trace = Math.sqrt(xx + yy + 2 * det), [p, q, r] = [(xx + det) / trace, xy / trace, (yy + det) / trace];
  const width = (POSED_SCALE * (p + r)) / 2, size = p * r - q * q;
  const across = axes.map((k) => (r * x[k] - q * y[k]) / size), down = axes.map((k) => (p * y[k] - q * x[k]) / size);
  const away = axes.map((k) => across[(k + 1) % 3] * down[(k + 2) % 3] - across[(k + 2) % 3] * down[(k + 1) % 3]);
  const sign = Math.sign(aside(face)), forward = frame(face).across, [towards, below] = POSED_SHIFT;
  const shift = [across, down].map((axis, d) => centre[d] + width * (towards * sign * forward[d] + below * axis[1] - dot(axis, middle)));
  const points = new Float64Array(mean.length);
  for (let i = 0; i < mean.length; i += 3) {
    const place = axes.map((k) => width * mean[i + k]);
    points[i] = Math.fround(dot(across, place) + shift[0]);
    points[i + 1] = Math.fround(dot(down, place) + shift[1]);
    points[i + 2] = Math.fround(dot(away, place));
  }
  return { points, presence: 0, rotation: rotationOf(points) };
}

function dot(a: number[], b: number[]): number {
  return a.reduce((sum, value, k) => sum + value * b[k], 0);
}

function averaged(places: ArrayLike<number>[]): number[] {
  return Array.from(places[0], (_, k) => places.reduce((sum, place) => sum + place[k], 0) / places.length);
}

/** Where the detector's five points lie on landmarks, the first `size` coordinates. */
function five(points: ArrayLike<number>, size: number): number[][] {
  const at = (i: number): number[] => Array.from({ length: size }, (_, k) => points[3 * i + k]);
  const between = (i: number, j: number): number[] => at(i).map((value, k) => (value + at(j)[k]) / 2);
  return [between(33, 133), between(263, 362), at(1), at(61), at(291)];
}

/** Mean distance between landmarks and a detected face's five points, in face sizes. */
function apart(points: Float64Array, face: Face): number {
  const off = five(points, 2).reduce((sum, [x, y], i) => sum + Math.hypot(x - face.points[i][0], y - face.points[i][1]) / 5, 0);
  return off / Math.max(face.box[2], face.box[3]);
}

/** The crop of the first pass, and the head's axes. */
function frame(face: Face): { centre: Point; side: number; across: Point; down: Point } {
  const [left, top, width, height] = face.box, angle = angleOf(face);
  const across: Point = [Math.cos(angle), Math.sin(angle)], down: Point = [-across[1], across[0]];
  const larger = Math.max(width, height), shift = (BOX_CENTRE - 0.5) * larger;
  const centre: Point = [left + width / 2 + shift * down[0], top + height / 2 + shift * down[1]];
  return { centre, side: BOX_SCALE * larger, across, down };
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
