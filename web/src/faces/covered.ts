/**
 * Finds and places covered faces by all detections of a face in small, mirrored and enlarged copies, and by the mask that
 * seems to be worn on each, as in `maskhub.faces.covered`.
 */

import type { Networks } from "../networks";
import { type Matrix, type Picture, rint } from "../vision/image";
import { angleOf, crop } from "./align";
import { detections } from "./copies";
import { type Face, MARGIN, type Row, SMALL, toFace, turnBack, uprightWindow, WORN } from "./detect";
import { worn } from "./worn";

const COPIES = [256, 192, 128, 90], AROUND = 2;
const FAINT = 0.12, FOUND = 0.5, LOOKS = 3, LARGE = 0.4, HARDLY = 0.02;

/** A detection of a face and the odds that a mask is worn there. */
interface Seen { odds: number; face: Face }

/** A face that fills much of a photo, though its score is low in the photo itself; or null. */
export async function coveredFace(networks: Networks, photo: Picture): Promise<Face | null> {
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

/** A masked face on which landmarks don't settle, placed by all detections of it; null if no mask seems to be worn. */
export async function coveredPlace(networks: Networks, photo: Picture, face: Face): Promise<Face | null> {
  const own = { odds: await oddsOf(networks, photo, face), face };
  if (own.odds < HARDLY / (1 - HARDLY)) return null;
  const upright = (rint((angleOf(face) * 2) / Math.PI) * Math.PI) / 2;
  const filling = Math.max(face.box[2], face.box[3]) >= LARGE * Math.min(photo.width, photo.height);
  const seen = [own, ...(await seenAs(networks, photo, face, filling && upright === 0 ? null : upright))];
  if (Math.max(...seen.map((one) => one.odds)) < WORN / (1 - WORN)) return null;
  const first = mean(seen);
  return mean([...seen, ...(await seenAs(networks, photo, first, angleOf(first)))]);
}

async function oddsOf(networks: Networks, photo: Picture, face: Face): Promise<number> {
  const confidence = Math.min(face.box[2], face.box[3]) >= SMALL ? await worn(networks, photo, face) : 0;
  return confidence / (1 - confidence + 1e-7);
}

/** Detections of a face in copies of a window around it, turned by `roll` radians, or of the photo if that is null. */
async function seenAs(networks: Networks, photo: Picture, face: Face, roll: number | null): Promise<Seen[]> {
  const size = COPIES[0], scale = size / (AROUND * Math.max(face.box[2], face.box[3]));
  const matrix: Matrix = roll === null ? [1, 0, 0, 0, 1, 0] : uprightWindow(face.box, roll, scale, size);
  const picture = roll === null ? photo : crop(photo, matrix, size), seen: Seen[] = [];
  for (const side of COPIES) {
    const found = (await detections(networks, picture, side, FAINT, roll === null ? MARGIN : 0)).flat();
    for (const row of turnBack(found, matrix, (-(roll ?? 0) * 180) / Math.PI)) {
      const one = toFace(row, [0, 0], [1, 1]);
      if (sameFace(one, face)) seen.push({ odds: await oddsOf(networks, photo, one), face: one });
    }
  }
  return seen;
}

function sameFace({ box: [left, top, width, height] }: Face, { box: [x, y, wide, high] }: Face): boolean {
  const ours = Math.max(width, height), theirs = Math.max(wide, high), share = ours / theirs;
  const apart = Math.hypot(left + width / 2 - x - wide / 2, top + height / 2 - y - high / 2);
  return apart < 0.6 * Math.max(ours, theirs) && 0.45 < share && share < 2.2;
}

/** The mean of faces, weighted by their odds; its score is the first one's. */
function mean(seen: Seen[]): Face {
  const rows = seen.map(({ face }) => [...face.box, ...face.points.flat()]);
  const total = seen.reduce((sum, { odds }) => sum + odds, 0);
  const at = (k: number): number => seen.reduce((sum, { odds }, i) => sum + (rows[i][k] * odds) / total, 0);
  const row = Float32Array.from([...rows[0].map((_, k) => at(k)), seen[0].face.score]);
  return toFace(row, [0, 0], [1, 1]);
}
