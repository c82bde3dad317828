/**
 * Detects a face again at several sizes and mirrored, and takes the place on which enough of these detections agree, as in
 * `maskhub.faces.agreed`.
 */

import { crop } from "./align";
import { detections } from "./copies";
import type { Face } from "./face";
import { faceOf, ownRow, rowsTurnedBack, uprightWindow } from "./view";
import type { Row } from "./yunet";
import type { Networks } from "../networks";
import type { Picture } from "../vision/image";
import { median } from "../vision/numbers";

const SIDES = [96, 128, 176, 224, 288], AROUND = 2.4;
const FOUND = 0.5, NEAR = 0.06, ENOUGH = 4, LIKELY = 0.65;

/** The face on which enough detections around a detected one agree, or null. */
export async function agreed(networks: Networks, photo: Picture, face: Face): Promise<Face | null> {
  const [right, other, , one, two] = face.points, side = SIDES[SIDES.length - 1];
  const down = [one[0] + two[0] - right[0] - other[0], one[1] + two[1] - right[1] - other[1]];
  const roll = Math.atan2(-down[0], down[1]), scale = side / (AROUND * Math.max(face.box[2], face.box[3]));
  const matrix = uprightWindow(face.box, roll, scale, side);
  const window = crop(photo, matrix, side), rows: Row[] = [];
  const size = side / AROUND, middle = Float32Array.of(side / 2 - size / 2, side / 2 - size / 2, size, size);
  for (const [i, copy] of SIDES.entries()) {
    for (const found of await detections(networks, window, copy, FOUND)) {
      const row = ownRow(found, middle);
      if (row) rows.push(row);
    }
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
  return faceOf(rowsTurnedBack([mean], matrix, (-roll * 180) / Math.PI)[0], [0, 0], [1, 1]);
}
