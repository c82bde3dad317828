/**
 * Detects a face at several sizes and mirrored, and takes the place on which enough of these detections agree, as in
 * `maskhub.faces.agreed`.
 */

import { crop } from "./align";
import { type Face, findRows, MARGIN, own, type Row, SMALL, toFace, turnBack, uprightWindow, WORN } from "./detect";
import type { Networks } from "../networks";
import { type Picture, picture, rint } from "../vision/image";
import { shrink } from "../vision/filter";
import { median } from "../vision/numbers";
import { worn } from "./worn";

const SIDES = [96, 128, 176, 224, 288], AROUND = 2.4;
const FOUND = 0.5, NEAR = 0.06, ENOUGH = 4, LIKELY = 0.65;
const COPIES = [256, 192, 128, 90], FAINT = 0.12, LOOKS = 3, LARGE = 0.4;
/** The points of a mirrored face in their usual order. */
const MIRRORED = [1, 0, 2, 4, 3];

/** The face on which enough detections around a detected one agree, or null. */
export async function agreed(networks: Networks, photo: Picture, face: Face): Promise<Face | null> {
  const [right, other, , one, two] = face.points, side = SIDES[SIDES.length - 1];
  const down = [one[0] + two[0] - right[0] - other[0], one[1] + two[1] - right[1] - other[1]];
  const roll = Math.atan2(-down[0], down[1]), scale = side / (AROUND * Math.max(face.box[2], face.box[3]));
  const matrix = uprightWindow(face.box, roll, scale, side);
  const window = crop(photo, matrix, side), rows: Row[] = [];
  const size = side / AROUND, middle = Float32Array.of(side / 2 - size / 2, side / 2 - size / 2, size, size);
  for (const [i, copy] of SIDES.entries()) {
    for (const found of await detections(networks, window, copy, FOUND)) rows.push(...[own(found, middle)].filter((row) => row !== null));
    if (rows.length + 2 * (SIDES.length - 1 - i) < ENOUGH) return null; // even if the larger, slower sides find it
  }
  const usual = rows[0].map((_, i) => median(rows.map((row) => row[i])));
  const near = rows.filter((row) => {
    const off = [4, 6, 8, 10, 12].map((i) => Math.hypot(row[i] - usual[i], row[i + 1] - usual[i + 1]));
    return off.reduce((sum, value) => sum + value / 5, 0) <= NEAR * Math.max(usual[2], usual[3]);
  });
  if (near.length < ENOUGH || usual[14] < LIKELY) return null;
  const mean = usual.map((_, i) => near.reduce((sum, row) => sum + row[i] / near.length, 0));
  mean[14] = usual[14];
  return toFace(turnBack([mean], matrix, (-roll * 180) / Math.PI)[0], [0, 0], [1, 1]);
}

/** A face that fills much of a photo, though its score is low in the photo itself; or null. */
export async function agreedFace(networks: Networks, photo: Picture): Promise<Face | null> {
  const least = Math.max(LARGE * Math.min(photo.width, photo.height), SMALL), all: Row[] = [];
  for (const side of COPIES) all.push(...(await detections(networks, photo, side, FAINT, MARGIN)).flat());
  let rows = all.filter((row) => Math.min(row[2], row[3]) >= least).sort((a, b) => b[14] - a[14]);
  while (rows.length >= LOOKS) {
    const [first] = rows, near = rows.map((row, i) => i === 0 || samePlace(row, first));
    const seen = await shown(networks, photo, rows.filter((_, i) => near[i]));
    if (seen.length === LOOKS) {
      const total = seen.reduce((sum, row) => sum + row[14], 0);
      const mean = first.map((_, k) => seen.reduce((sum, row) => sum + (row[k] * row[14]) / total, 0));
      mean[14] = seen[0][14];
      return toFace(mean, [0, 0], [1, 1]);
    }
    rows = rows.filter((_, i) => !near[i]);
  }
  return null;
}

/** Of rows in one place, best first, the first `LOOKS` that show a face; fewer if there are not as many. */
async function shown(networks: Networks, photo: Picture, rows: Row[]): Promise<Row[]> {
  if (rows.length >= LOOKS && rows[LOOKS - 1][14] >= FOUND) return rows.slice(0, LOOKS);
  const out: Row[] = [];
  for (const [i, row] of rows.entries()) {
    if (out.length === LOOKS || out.length + rows.length - i < LOOKS) break; // a look at a mask takes long
    if ((await worn(networks, photo, toFace(row, [0, 0], [1, 1]))) >= WORN) out.push(row);
  }
  return out;
}

function samePlace(row: Row, other: Row): boolean {
  const size = Math.max(other[2], other[3]), share = Math.max(row[2], row[3]) / size;
  const apart = Math.hypot(row[0] + row[2] / 2 - other[0] - other[2] / 2, row[1] + row[3] / 2 - other[1] - other[3] / 2);
  return apart < 0.5 * size && 0.6 < share && share < 1.67;
}

/**
 * The rows of a picture whose longer side is reduced to `side`, those in the picture as it is and those in its mirror image,
 * in the picture's pixels; `margin` is added around it, as a share of each side.
 */
async function detections(
  networks: Networks, photo: Picture, side: number, threshold: number, margin = 0,
): Promise<Row[][]> {
  const scale = Math.min(side / Math.max(photo.width, photo.height), 1);
  const [width, height] = [photo.width, photo.height].map((size) => Math.max(rint(size * scale), 1));
  const scaled = scale < 1 ? shrink(photo, width, height) : photo;
  const pad = [rint(width * margin), rint(height * margin)], grown = [photo.width / width, photo.height / height];
  const out: Row[][] = [];
  for (const mirrored of [false, true]) {
    const rows = await findRows(networks, mirrored ? flipped(scaled) : scaled, threshold, pad[0], pad[1]);
    out.push(rows.map((found) => {
      const row = found.slice();
      for (let i = 0; i < 14; i++) if (i !== 2 && i !== 3) row[i] -= pad[i % 2];
      if (mirrored) {
        const points = row.slice(4, 14);
        MIRRORED.forEach((from, to) => row.set([width - 1 - points[2 * from], points[2 * from + 1]], 4 + 2 * to));
        row[0] = width - 1 - row[0] - row[2];
      }
      return row.map((value, i) => (i === 14 ? value : i === 2 || i === 3 ? value * grown[i % 2] : (value + 0.5) * grown[i % 2] - 0.5));
    }));
  }
  return out;
}

/** A picture mirrored left to right. */
function flipped({ data, width, height, channels }: Picture): Picture {
  const out = picture(width, height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = width - 1; x >= 0; x--) for (let k = 0; k < 3; k++) out.data[to++] = data[(y * width + x) * channels + k];
  }
  return out;
}
