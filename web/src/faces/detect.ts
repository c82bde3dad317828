/**
 * Face detection with YuNet, as in `maskhub.faces.detect`: on the photo with a margin and, if no face is found with
 * confidence, on the photo turned in steps of 45°.
 */

import { after, apply, inverse, type Matrix, type Picture, type Point, rint } from "../vision/image";
import { warp } from "../vision/warp";
import type { Networks } from "../networks";
import { coveredFace, coveredPlace } from "./covered";
import { type Face, rollOf } from "./face";
import { settled } from "./settle";
import { CERTAIN, faceOf, overturned, ownRow, rowsTurnedBack, trusted, turnedCopy, uprightWindow, View, WORN } from "./view";
import type { Row } from "./yunet";

const TURNS = [90, -90, 180, 45, -45, 135, -135];
export const SURE = 0.9;
const WINDOW = 176;
const UNSURE_LEAD = 0.06;
const BARE = 0.6;
const COARSE = 128, CLOSE = 256, AROUND = 1.2;
const LEVEL = 10;
const LIKELY = 0.1, TRIED = 3;
const EVEN = 0.05, AHEAD = 0.03;
const AGAIN = 200, SIZES = [0.8, 0.9, 1, 1.1, 1.2];

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
  const view = View.of(networks, photo, maxSide, threshold);
  let [rows, doubtful] = await view.find(view.image, view.pad);
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
  const ordered = await maskedFirst(view, sure, surest);
  for (const found of ordered) if (await view.stands(surest(found))) return found;
  const isMasked = async (row: Row): Promise<boolean> => (await view.worn(row)) >= WORN;
  const masked = ordered.length && (await isMasked(surest(ordered[0]))) ? ordered[0] : [];
  let hidden: Row[] = [];
  const face = masked.length ? null : await coveredFace(view.networks, view.photo), covered = face ? [view.row(face)] : [];
  for (const row of [...covered, ...doubtful]) if (!hidden.length && (await isMasked(row))) hidden = [row];
  if (hidden.length) return best(masked) > best(hidden) + LIKELY ? masked : hidden;
  if (ordered.length) return ordered[0];
  for (const [row] of less) if (await view.shows(row)) return [row];
  return covered;
}

/** The same, sorted by how certain the mask detector is that their row wears a mask, most certain first. */
async function maskedFirst<T>(view: View, all: T[], rowOf: (one: T) => Row): Promise<T[]> {
  const grades: T[][] = [[], [], []];
  for (const one of all) grades[await view.maskGrade(rowOf(one))].push(one);
  return grades.reverse().flat();
}

/** The detections in the image turned clockwise, and the doubtful ones. */
async function inTurned(view: View, degrees: number): Promise<[Row[], Row[]]> {
  const { matrix, turned } = turnedCopy(view.padded, degrees), [rows, doubtful] = await view.find(turned);
  return [rowsTurnedBack(rows, matrix, degrees), rowsTurnedBack(doubtful, matrix, degrees)];
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
  return ownRow(rowsTurnedBack(found, matrix, degrees), row);
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
    const byMasks = Number(foundMasked >= CERTAIN) - Number(masked >= CERTAIN);
    return gain > ((byMasks || lead) > 0 ? -EVEN : EVEN) && (await view.stands(found));
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
    const row = ownRow((await view.find(warp(view.photo, matrix, side, side))).flat(), around);
    if (!row || row[14] < face.score - LIKELY) continue;
    const eyes = (row[5] + row[7]) / 2, back = inverse(matrix);
    ends.push([row[0], row[0] + row[2]].map((end) => apply(back, [end, eyes])));
    rows.push(rowsTurnedBack([row], matrix, -roll)[0]);
  }
  if (!rows.length) return face;
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
  const row = Float32Array.from(rows[0], (_, i) => mean(rows.map((one) => one[i])));
  const sides = [0, 1].map((i): Point => [mean(ends.map((one) => one[i][0])), mean(ends.map((one) => one[i][1]))]);
  return { ...faceOf(row, [0, 0], [1, 1]), sides };
}

function surest(rows: Row[]): Row {
  return rows.reduce((a, b) => (b[14] > a[14] ? b : a));
}

function best(rows: Row[]): number {
  return rows.reduce((most, row) => Math.max(most, row[14]), 0);
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
