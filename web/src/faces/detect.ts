/**
 * Face detection with YuNet, as in `maskhub.faces.detect`: on the photo with a margin and, if no face is found with
 * confidence, on the photo turned in steps of 45°.
 */

import { after, apply, clamp, inverse, type Matrix, type Picture, type Point, rint, scaleOf } from "../vision/image";
import { shrink } from "../vision/filter";
import { warp } from "../vision/warp";
import type { Networks, Outputs } from "../networks";
import { angleOf } from "./align";
import { coveredFace, coveredPlace } from "./covered";
import { PRESENT } from "./landmarks";
import { type Settled, settled } from "./settle";
import { worn } from "./worn";

export interface Face {
  /** left, top, width, height in the photo's pixels; may extend beyond its edges */
  box: [number, number, number, number];
  /** eye, eye, nose tip, mouth corner, mouth corner; the person's right side first */
  points: Point[];
  /** 0 to 1 */
  score: number;
  /** the outermost points of the face to its right and left, at the height of its eyes, where landmarks placed it */
  sides?: Point[];
}

export const MARGIN = 0.15, SMALL = 32;
const LEAST = 24;
const TURNS = [90, -90, 180, 45, -45, 135, -135];
const WINDOW = 176;
export const SURE = 0.9;
const UNSURE_LEAD = 0.06;
const STRIDES = [8, 16, 32];
const UPRIGHT = 1.116;
export const WORN = 0.8;
const DOUBTFUL = 0.5, HIDDEN = 0.35, BARE = 0.6;
const LEVEL = 10, ELSEWHERE = 15, ASKEW = 35;
const LIKELY = 0.1, TRIED = 3, EVEN = 0.05, AHEAD = 0.03;
const COARSE = 128, CLOSE = 256, AROUND = 1.2;
const AGAIN = 200, SIZES = [0.8, 0.9, 1, 1.1, 1.2];
const OVERLAP = 0.3;
const TOP = 500;

/** One detection of YuNet: left, top, width, height, 5 × (x, y), score. */
export type Row = Float32Array;

export interface DetectorOptions {
  /** lowest confidence of a face */
  threshold?: number;
  /** photos are scaled down to this longer side first */
  maxSide?: number;
  /** whether to look for faces that are not upright */
  turn?: boolean;
}

/** The faces of a photo, largest first. */
export async function detect(networks: Networks, photo: Picture, options: DetectorOptions = {}): Promise<Face[]> {
  const { threshold = 0.7, maxSide = 1024, turn = true } = options;
  const scale = Math.min(1, maxSide / (Math.max(photo.height, photo.width) * (1 + 2 * MARGIN)));
  let image = photo;
  if (scale < 1) {
    image = shrink(photo, Math.max(1, rint(photo.width * scale)), Math.max(1, rint(photo.height * scale)));
  }
  const view = new View(networks, photo, image, threshold);
  let [rows, doubtful] = await view.find(image, view.pad);
  if (turn) rows = await closer(view, rows);
  if (turn && (!rows.length || rows.some((row) => row[14] < SURE || overturned(row)))) {
    rows = best(rows) < SURE ? await findTurned(view, rows, doubtful) : await turnUnsure(view, rows);
  }
  let faces = rows.map((row) => view.face(row));
  if (turn) {
    const found: Face[] = [];
    for (const [i, row] of rows.entries()) found.push(await placed(view, row, faces.filter((_, j) => j !== i)));
    faces = found;
  }
  return faces.sort((a, b) => b.box[2] * b.box[3] - a.box[2] * a.box[3]);
}

/** A photo as it is searched: its scaled copy, with a margin where it is needed. */
class View {
  readonly pad: Point;
  private readonly zoom: Point;
  private turnable: Picture | null = null;
  private readonly known = new Map<string, Settled | null>();
  private readonly masked = new Map<string, number>();

  constructor(readonly networks: Networks, readonly photo: Picture, private image: Picture, private threshold: number) {
    this.pad = [padOf(image.width), padOf(image.height)];
    this.zoom = [image.width / photo.width, image.height / photo.height];
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

  face(row: Row): Face {
    return toFace(row, this.pad, this.zoom);
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
    return found !== null && found.presence >= PRESENT && apart(rollOf(found.face), rollOf(this.face(row))) <= ELSEWHERE;
  }

  /** The landmark network's confidence that there is a face as in its row, 0 to 1. */
  async presence(row: Row): Promise<number> {
    const found = await this.settled(row, false);
    return found !== null && apart(rollOf(found.face), rollOf(this.face(row))) <= ASKEW ? found.presence : 0;
  }

  /** Confidence that the face of a row wears a mask. */
  async worn(row: Row): Promise<number> {
    const key = row.join(), face = this.face(row);
    if (!this.masked.has(key)) {
      this.masked.set(key, Math.min(face.box[2], face.box[3]) >= SMALL ? await worn(this.networks, this.photo, face) : 0);
    }
    return this.masked.get(key) ?? 0;
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

/** The rows, with those of small faces replaced by what an enlarged window shows; the scores stay. */
async function closer(view: View, rows: Row[]): Promise<Row[]> {
  const out: Row[] = [];
  for (const row of rows) {
    const near = Math.max(row[2], row[3]) < COARSE ? await inWindow(view, row, 0, CLOSE, AROUND) : null;
    const found = near !== null && near[14] >= row[14] - LIKELY;
    if (found) near[14] = row[14];
    out.push(found ? near : row);
  }
  return out;
}

/** The detections in the turned image, if they are more confident than `rows`, those of the upright image. */
async function findTurned(view: View, rows: Row[], doubtful: Row[]): Promise<Row[]> {
  if (!rows.length) {
    for (const row of doubtful) if (await view.settles(row)) rows.push(row);
  }
  if (rows.length) {
    const winner = await wayUp(view, surest(rows));
    if (!winner) return rows;
    const [found] = await inTurned(view, winner);
    return found.length ? found : await turnUnsure(view, rows);
  }
  const sure: Row[][] = [], less: Row[][] = [];
  for (const degrees of TURNS) {
    const [found, others] = await inTurned(view, degrees);
    if (best(found) >= SURE + 0.02) return found;
    if (found.length) sure.push(found);
    if (others.length) less.push(others);
  }
  for (const tried of [sure, less]) tried.sort((a, b) => best(b) - best(a));
  for (const found of await maskedFirst(view, sure, surest)) if (await view.stands(surest(found))) return found;
  const isMasked = async (row: Row): Promise<boolean> => (await view.worn(row)) >= WORN;
  let hidden: Row[] = [], masked: Row[] = [];
  for (const found of sure) if (!masked.length && (await isMasked(surest(found)))) masked = found;
  const face = masked.length ? null : await coveredFace(view.networks, view.photo), covered = face ? [view.row(face)] : [];
  for (const row of [...covered, ...doubtful]) if (!hidden.length && (await isMasked(row))) hidden = [row];
  if (hidden.length) return best(masked) > best(hidden) + LIKELY ? masked : hidden;
  if (sure.length) return masked.length ? masked : sure[0];
  for (const [row] of less) if (await view.shows(row)) return [row];
  return covered;
}

/** The same, those whose row wears a mask before the others. */
async function maskedFirst<T>(view: View, all: T[], rowOf: (one: T) => Row): Promise<T[]> {
  const masked: T[] = [], bare: T[] = [];
  for (const one of all) ((await view.worn(rowOf(one))) >= WORN ? masked : bare).push(one);
  return [...masked, ...bare];
}

/** The detections in the image turned clockwise, and the doubtful ones. */
async function inTurned(view: View, degrees: number): Promise<[Row[], Row[]]> {
  const { matrix, turned } = turnedWhole(view.padded, degrees), [rows, doubtful] = await view.find(turned);
  return [turnBack(rows, matrix, degrees), turnBack(doubtful, matrix, degrees)];
}

/** The rows, those of unsure faces that are not upright detected again. */
async function turnUnsure(view: View, rows: Row[]): Promise<Row[]> {
  const out: Row[] = [];
  for (const row of rows) out.push(row[14] >= SURE && !overturned(row) ? row : await righted(view, row));
  return out;
}

/** The detection in a face's surroundings, turned upright; the row itself if it is upright. */
async function righted(view: View, row: Row): Promise<Row> {
  const winner = await wayUp(view, row);
  return (winner ? await inWindow(view, row, winner) : null) ?? row;
}

/** The detection of a face in a small window around it, turned clockwise; null if it isn't found there. */
async function inWindow(view: View, row: Row, degrees: number, side = WINDOW, around = 1.8): Promise<Row | null> {
  const matrix = after(aboutTheMiddle(degrees, side), windowMatrix(row, side, around));
  const found = (await view.find(warp(view.padded, matrix, side, side))).flat();
  return own(turnBack(found, matrix, degrees), row);
}

/** The angle in degrees that turns a face upright; 0 if that is not clearly better. */
async function wayUp(view: View, row: Row): Promise<number> {
  const over = 180 - rollOf(view.face(row));
  if (row[14] >= SURE || (await view.stands(row, false))) {
    const found = await inWindow(view, row, over);
    if (!found || found[14] < row[14] - LIKELY) return 0;
    const masks: Point = [await view.worn(row), await view.worn(found)];
    if ((await view.stands(row, false)) || (Math.min(...masks) < BARE && Math.max(...masks) >= WORN)) {
      return (await surer(view, found, row, ...masks)) ? over : 0;
    }
  }
  const all: [number, Row | null][] = [];
  for (const degrees of [0, over, ...TURNS]) all.push([degrees, await inWindow(view, row, degrees)]);
  const upright = all[0][1]?.[14] ?? 0, masked = await view.worn(row);
  const found = all.filter((one): one is [number, Row] => one[1] !== null).sort((a, b) => b[1][14] - a[1][14]);
  const least = Math.min(row[14], upright || 1) - LIKELY; // scores in the window are often lower than in the photo
  const others = found.filter(([degrees]) => degrees).slice(0, TRIED);
  const likely = await maskedFirst(view, others.filter(([, one]) => one[14] > least), ([, one]) => one);
  for (const [degrees, one] of likely) {
    const bare = masked < WORN || (await view.presence(one)) > (await view.presence(row)) + EVEN;
    const confirmed = (await view.worn(one)) >= WORN ? await view.settled(one) : bare && (await view.stands(one));
    if (confirmed) return degrees;
  }
  if (masked < BARE && likely.length && (await view.worn(likely[0][1])) >= WORN) return likely[0][0];
  if (!found.length) return 0;
  const [winner, most] = found[0];
  // a masked face scores low, and sometimes a little higher upside down; most photos are upright
  const lead = most[14] >= SURE ? 0.01 : UNSURE_LEAD;
  if (most[14] <= Math.max(upright, row[14]) + lead) return 0;
  return masked < WORN || (await view.worn(most)) >= WORN ? winner : 0;
}

/** Whether a face stands as in `found`, not as in `row`, by scores, landmarks and the masks worn in each. */
async function surer(view: View, found: Row, row: Row, masked: number, foundMasked: number): Promise<boolean> {
  const lead = Math.fround(found[14] - row[14]), gain = (await view.presence(found)) - (await view.presence(row));
  if (Math.min(masked, foundMasked) >= BARE || Math.max(masked, foundMasked) < WORN) {
    return gain > (lead > 0 ? -EVEN : EVEN) && (await view.stands(found));
  }
  if (Math.abs(gain) > EVEN) return gain > 0;
  return Math.abs(lead) > AHEAD ? lead > 0 : foundMasked >= WORN;
}

/** The face as it was detected if it is upright and sure; otherwise where a second look places it. */
async function placed(view: View, row: Row, others: Face[]): Promise<Face> {
  const face = view.face(row), roll = rollOf(face);
  if (row[14] >= SURE && Math.abs(roll) <= LEVEL) return face;
  const found = await view.settled(row, false);
  if (trusted(found, face)) return found.face;
  const second = (await coveredPlace(view.networks, view.photo, face, others)) ?? (await again(view, face));
  const placed = second === face ? null : await settled(view.networks, view.photo, second, false);
  return trusted(placed, second) ? placed.face : second;
}

/** A face detected again in its surroundings turned upright, the mean over a few sizes; unchanged if it isn't found. */
async function again(view: View, face: Face): Promise<Face> {
  const size = Math.max(face.box[2], face.box[3]), roll = rollOf(face), rows: Row[] = [], ends: Point[][] = [];
  for (const factor of SIZES) {
    const scale = Math.min(1, AGAIN / size) * factor, side = rint(2 * size * scale);
    const matrix = uprightWindow(face.box, (roll * Math.PI) / 180, scale, side);
    const corner = side / 2 - (size * scale) / 2;
    const around = Float32Array.from([corner, corner, size * scale, size * scale]);
    const row = own((await view.find(warp(view.photo, matrix, side, side))).flat(), around);
    if (!row || row[14] < face.score - LIKELY) continue;
    const eyes = (row[5] + row[7]) / 2, back = inverse(matrix);
    ends.push([row[0], row[0] + row[2]].map((end) => apply(back, [end, eyes])));
    rows.push(turnBack([row], matrix, -roll)[0]);
  }
  if (!rows.length) return face;
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const row = Float32Array.from(rows[0], (_, i) => mean(rows.map((one) => one[i])));
  const sides = [0, 1].map((i): Point => [mean(ends.map((one) => one[i][0])), mean(ends.map((one) => one[i][1]))]);
  return { ...toFace(row, [0, 0], [1, 1]), sides };
}

/** The matrix to a square window with the middle of a box in its middle, turned upright by the roll in radians, and scaled. */
export function uprightWindow([left, top, width, height]: Face["box"], roll: number, scale: number, side: number): Matrix {
  const x = left + width / 2, y = top + height / 2, middle = (side - 1) / 2;
  const cos = scale * Math.cos(roll), sin = scale * Math.sin(roll);
  return [cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y];
}

/** The most confident row of the same face as `row`, and not a neighbour's; or null. */
export function own(rows: Row[], row: Row): Row | null {
  const middle = (one: Row): Point => [one[0] + one[2] / 2, one[1] + one[3] / 2], [x, y] = middle(row);
  const reach = 0.5 * Math.max(row[2], row[3]);
  return rows.find((one) => Math.hypot(middle(one)[0] - x, middle(one)[1] - y) < reach) ?? null;
}

/** Whether a sure detection may be of a face that is upside down. */
function overturned(row: Row): boolean {
  const below = (row[5] + row[7] + 2 * row[9]) / 4 - row[1] - row[3] / 2;
  return row[3] - 3 * below < UPRIGHT * row[2];
}

/** Whether the landmarks of a face, or null, are trusted to place it. */
function trusted(found: Settled | null, face: Face): found is Settled {
  return found !== null && (found.presence >= PRESENT || apart(rollOf(found.face), rollOf(face)) <= ASKEW);
}

/** Degrees between two angles. */
function apart(one: number, other: number): number {
  return Math.abs(((((one - other + 180) % 360) + 360) % 360) - 180);
}

function surest(rows: Row[]): Row {
  return rows.reduce((a, b) => (b[14] > a[14] ? b : a));
}

/** The rotation of a face in degrees, clockwise. */
function rollOf(face: Face): number {
  return (angleOf(face) * 180) / Math.PI;
}

/** The detections in an image with a margin that repeats its border. */
export async function findRows(networks: Networks, image: Picture, threshold: number, padX: number, padY: number): Promise<Row[]> {
  const { data, channels } = image, wide = image.width + 2 * padX, high = image.height + 2 * padY;
  const width = Math.ceil(wide / 32) * 32, height = Math.ceil(high / 32) * 32;
  const stride = 3 * (width + 2), blob = new Float32Array(stride * (height + 2)); // with a border of one pixel
  const columns = Int32Array.from({ length: wide }, (_, x) => clamp(x - padX, 0, image.width - 1) * channels);
  for (let y = 0; y < high; y++) {
    const row = clamp(y - padY, 0, image.height - 1) * image.width * channels;
    for (let x = 0, to = (y + 1) * stride + 3; x < wide; x++, to += 3) {
      const from = row + columns[x];
      blob[to] = data[from + 2]; // blue first, as OpenCV
      blob[to + 1] = data[from + 1];
      blob[to + 2] = data[from];
    }
  }
  const out = await networks.run("yunet", { data: blob, dims: [1, height + 2, width + 2, 3] });
  const rows = STRIDES.flatMap((stride) => rowsOf(out, stride, width, threshold));
  return rows.length > 1 ? suppressed(rows, threshold) : rows;
}

function rowsOf(out: Outputs, stride: number, width: number, threshold: number): Row[] {
  const sure = out[`cls_${stride}`], there = out[`obj_${stride}`];
  const boxes = out[`bbox_${stride}`], points = out[`kps_${stride}`];
  const columns = Math.floor(width / stride), rows: Row[] = [];
  for (let i = 0; i < sure.length; i++) {
    const score = Math.fround(Math.sqrt(Math.fround(clamp(sure[i], 0, 1) * clamp(there[i], 0, 1))));
    if (score < Math.fround(threshold)) continue;
    const x = i % columns, y = Math.floor(i / columns), row = new Float32Array(15);
    row[2] = Math.exp(boxes[4 * i + 2]) * stride;
    row[3] = Math.exp(boxes[4 * i + 3]) * stride;
    row[0] = (x + boxes[4 * i]) * stride - row[2] / 2;
    row[1] = (y + boxes[4 * i + 1]) * stride - row[3] / 2;
    for (let k = 0; k < 5; k++) {
      row[4 + 2 * k] = (points[10 * i + 2 * k] + x) * stride;
      row[5 + 2 * k] = (points[10 * i + 2 * k + 1] + y) * stride;
    }
    row[14] = score;
    rows.push(row);
  }
  return rows;
}

/** Non-maximum suppression on integer boxes, as `cv2.dnn.NMSBoxes`; most confident first. */
function suppressed(rows: Row[], threshold: number): Row[] {
  const sorted = rows.filter((row) => row[14] > Math.fround(threshold)).sort((a, b) => b[14] - a[14]).slice(0, TOP);
  const kept: Row[] = [];
  for (const row of sorted) if (kept.every((other) => overlap(row, other) <= OVERLAP)) kept.push(row);
  return kept;
}

function overlap(one: Row, other: Row): number {
  const [ax, ay, aw, ah] = [0, 1, 2, 3].map((i) => Math.trunc(one[i]));
  const [bx, by, bw, bh] = [0, 1, 2, 3].map((i) => Math.trunc(other[i]));
  const across = Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx));
  const down = Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
  const both = aw * ah + bw * bh;
  return both > 0 ? (across * down) / (both - across * down) : 1;
}

export function toFace(row: Row, pad: Point, scale: Point): Face {
  const at = (i: number): Point => [Math.fround((row[i] - pad[0]) / scale[0]), Math.fround((row[i + 1] - pad[1]) / scale[1])];
  const [left, top] = at(0);
  return {
    box: [left, top, Math.fround(row[2] / scale[0]), Math.fround(row[3] / scale[1])],
    points: [4, 6, 8, 10, 12].map(at),
    score: row[14],
  };
}

function best(rows: Row[]): number {
  return rows.reduce((most, row) => Math.max(most, row[14]), 0);
}

/** The margin in pixels, as in Python: reduced by whole cells of YuNet's coarsest grid while enough of it remains. */
function padOf(side: number): number {
  const whole = rint(side * MARGIN), spare = whole - Math.max((side * MARGIN) / 3, LEAST);
  return whole - STRIDES[2] * Math.max(Math.floor(spare / STRIDES[2]), 0);
}

function padReplicate(image: Picture, padX: number, padY: number): Picture {
  return warp(image, [1, 0, padX, 0, 1, padY], image.width + 2 * padX, image.height + 2 * padY);
}

/** The map to the surroundings of a detected face, `around` times its size, in a window of `pixels` per side. */
function windowMatrix(row: Row, pixels: number, around: number): Matrix {
  const side = around * Math.max(row[2], row[3]), scale = pixels / side;
  const left = row[0] + row[2] / 2 - side / 2, top = row[1] + row[3] / 2 - side / 2;
  return [scale, 0, -left * scale, 0, scale, -top * scale];
}

/** A clockwise turn about the centre of a window. */
function aboutTheMiddle(degrees: number, side: number): Matrix {
  const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180), middle = (side - 1) / 2;
  return [cos, -sin, (1 - cos) * middle + sin * middle, sin, cos, -sin * middle + (1 - cos) * middle];
}

/** The image turned clockwise on a canvas that holds all of it, and the matrix of the turn. */
function turnedWhole(image: Picture, degrees: number): { matrix: Matrix; turned: Picture } {
  const cos = Math.cos((degrees * Math.PI) / 180), sin = Math.sin((degrees * Math.PI) / 180);
  const { width, height } = image;
  const newWidth = rint(Math.abs(width * cos) + Math.abs(height * sin));
  const newHeight = rint(Math.abs(width * sin) + Math.abs(height * cos));
  const x = (width - 1) / 2, y = (height - 1) / 2, toX = (newWidth - 1) / 2, toY = (newHeight - 1) / 2;
  const matrix: Matrix = [cos, -sin, toX - (cos * x - sin * y), sin, cos, toY - (sin * x + cos * y)];
  return { matrix, turned: warp(image, matrix, newWidth, newHeight) };
}

export function turnBack(rows: Row[], matrix: Matrix, degrees: number): Row[] {
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
