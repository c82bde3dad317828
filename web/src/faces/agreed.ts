/**
 * Detects a face again at several sizes and mirrored, and takes the place on which enough of these detections agree, as in
 * `maskhub.faces.agreed`.
 */

import { crop } from "./align";
import { type Face, findRows, own, type Row, toFace, turnBack, uprightWindow } from "./detect";
import type { Networks } from "../networks";
import { type Picture, picture } from "../vision/image";
import { shrink } from "../vision/filter";
import { median } from "../vision/numbers";

const SIDES = [96, 128, 176, 224, 288], AROUND = 2.4;
const FOUND = 0.5, NEAR = 0.06, ENOUGH = 4, LIKELY = 0.65;
/** The points of a mirrored face in their usual order. */
const MIRRORED = [1, 0, 2, 4, 3];

/** The face on which enough detections around a detected one agree, or null. */
export async function agreed(networks: Networks, photo: Picture, face: Face): Promise<Face | null> {
  const [right, other, , one, two] = face.points, side = SIDES[SIDES.length - 1];
  const down = [one[0] + two[0] - right[0] - other[0], one[1] + two[1] - right[1] - other[1]];
  const roll = Math.atan2(-down[0], down[1]), scale = side / (AROUND * Math.max(face.box[2], face.box[3]));
  const matrix = uprightWindow(face.box, roll, scale, side);
  const window = crop(photo, matrix, side), rows: Row[] = [];
  for (const [i, size] of SIDES.entries()) {
    rows.push(...(await detections(networks, window, size)));
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

/** The rows of the face in the middle of the window scaled to `side`, as it is and mirrored, in the window's pixels. */
async function detections(networks: Networks, window: Picture, side: number): Promise<Row[]> {
  const grown = window.width / side, scaled = grown > 1 ? shrink(window, side, side) : window, out: Row[] = [];
  const size = side / AROUND, around = Float32Array.of(side / 2 - size / 2, side / 2 - size / 2, size, size);
  for (const mirrored of [false, true]) {
    const found = own(await findRows(networks, mirrored ? flipped(scaled) : scaled, FOUND, 0, 0), around);
    if (!found) continue;
    const row = found.slice();
    if (mirrored) {
      row[0] = side - 1 - found[0] - found[2];
      MIRRORED.forEach((from, to) => row.set([side - 1 - found[4 + 2 * from], found[5 + 2 * from]], 4 + 2 * to));
    }
    out.push(row.map((value, i) => (i === 14 ? value : i === 2 || i === 3 ? value * grown : (value + 0.5) * grown - 0.5)));
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
