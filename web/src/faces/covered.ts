/**
 * Finds covered faces in small and mirrored copies of a photo, and places them by the detections on which the mask detector
 * is surest, as in `maskhub.faces.covered`.
 */

import type { Networks } from "../networks";
import { apply, inverse, type Matrix, type Picture, rint } from "../vision/image";
import { crop } from "./align";
import { detections } from "./copies";
import { angleOf, type Face } from "./face";
import { faceOf, MARGIN, rowsTurnedBack, SMALL, uprightWindow, WORN } from "./view";
import { worn } from "./worn";
import type { Row } from "./yunet";

const COPIES = [256, 192, 128, 90], AROUND = 2;
const FAINT = 0.12, LOOKS = 3, LARGE = 0.4, FOUND = 0.5, FIRM = 5, HARDLY = 0.02;

/** A detection of a face and the odds that a mask is worn there. */
interface Seen { odds: number; face: Face }

/** A face that fills much of a photo, though its score is low in the photo itself; or null. */
export async function coveredFace(networks: Networks, photo: Picture): Promise<Face | null> {
  const least = Math.max(LARGE * Math.min(photo.width, photo.height), SMALL), all = await allDetections(networks, photo, MARGIN);
  let rows = all.filter((row) => Math.min(row[2], row[3]) >= least).sort((a, b) => b[14] - a[14]);
  while (rows.length >= LOOKS) {
    const [first] = rows, near = rows.map((row, i) => i === 0 || samePlace(row, first));
    const seen = await shown(networks, photo, rows.filter((_, i) => near[i]));
    if (seen.length === LOOKS) {
      const total = seen.reduce((sum, row) => sum + row[14], 0);
      const mean = first.map((_, k) => seen.reduce((sum, row) => sum + (row[k] * row[14]) / total, 0));
      mean[14] = seen[0][14];
      return faceOf(mean, [0, 0], [1, 1]);
    }
    rows = rows.filter((_, i) => !near[i]);
  }
  return null;
}

/** Of rows in one place, best first, the first `LOOKS` that show a face; fewer if there are not as many. */
async function shown(networks: Networks, photo: Picture, rows: Row[]): Promise<Row[]> {
  if (rows.length >= FIRM && rows[FIRM - 1][14] >= FOUND) return rows.slice(0, LOOKS);
  const out: Row[] = [];
  for (const [i, row] of rows.entries()) {
    if (out.length === LOOKS || out.length + rows.length - i < LOOKS) break; // a look at a mask takes long
    if ((await worn(networks, photo, faceOf(row, [0, 0], [1, 1]))) >= WORN) out.push(row);
  }
  return out;
}

function samePlace(row: Row, other: Row): boolean {
  const size = Math.max(other[2], other[3]), share = Math.max(row[2], row[3]) / size;
  const apart = Math.hypot(row[0] + row[2] / 2 - other[0] - other[2] / 2, row[1] + row[3] / 2 - other[1] - other[3] / 2);
  return apart < 0.5 * size && 0.6 < share && share < 1.67;
}

/** A masked face on which landmarks don't settle, placed by all detections of it; null if no mask seems to be worn. */
export async function coveredPlace(
  networks: Networks, photo: Picture, face: Face, others: Face[] = [],
): Promise<Face | null> {
  const own = { odds: await oddsOf(networks, photo, face), face };
  if (own.odds < HARDLY / (1 - HARDLY)) return null;
  const upright = (rint((angleOf(face) * 2) / Math.PI) * Math.PI) / 2;
  const filling = Math.max(face.box[2], face.box[3]) >= LARGE * Math.min(photo.width, photo.height);
  const seen = [own, ...(await seenAs(networks, photo, face, others, filling && upright === 0 ? null : upright))];
  // of many looks at a bare face, one may see a mask
  if (seen.filter(({ odds }) => odds >= WORN / (1 - WORN)).length < LOOKS) return null;
  const first = mean(seen);
  return mean([...seen, ...(await seenAs(networks, photo, first, others, angleOf(first)))]);
}

async function oddsOf(networks: Networks, photo: Picture, face: Face): Promise<number> {
  const confidence = Math.min(face.box[2], face.box[3]) >= SMALL ? await worn(networks, photo, face) : 0;
  return confidence / (1 - confidence + 1e-7);
}

/**
 * Detections of a face in copies of a window around it, turned by `roll` radians, or of the photo if that is null; those
 * nearer to one of the others are left out.
 */
async function seenAs(
  networks: Networks, photo: Picture, face: Face, others: Face[], roll: number | null,
): Promise<Seen[]> {
  const size = COPIES[0], scale = size / (AROUND * Math.max(face.box[2], face.box[3]));
  const matrix: Matrix = roll === null ? [1, 0, 0, 0, 1, 0] : uprightWindow(face.box, roll, scale, size);
  const picture = roll === null ? photo : crop(photo, matrix, size), back = inverse(matrix), seen: Seen[] = [];
  for (const row of await allDetections(networks, picture, roll === null ? MARGIN : 0)) {
    const one = faceOf(rowsTurnedBack([row], matrix, (-(roll ?? 0) * 180) / Math.PI)[0], [0, 0], [1, 1]);
    if (!sameFace(one, face) || others.some((other) => apart(one, face) >= apart(one, other))) continue;
    // the box of a turned face is too wide: its ends are taken in the window
    const sides = [row[0], row[0] + row[2]].map((end) => apply(back, [end, (row[5] + row[7]) / 2]));
    seen.push({ odds: await oddsOf(networks, photo, one), face: { ...one, sides } });
  }
  return seen;
}

/** Rows in the copies of a picture; a small picture has fewer of them, since it is not enlarged. */
async function allDetections(networks: Networks, picture: Picture, margin: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const side of new Set(COPIES.map((side) => Math.min(side, Math.max(picture.width, picture.height))))) {
    rows.push(...(await detections(networks, picture, side, FAINT, margin)).flat());
  }
  return rows;
}

function sameFace(one: Face, other: Face): boolean {
  const ours = Math.max(one.box[2], one.box[3]), theirs = Math.max(other.box[2], other.box[3]), share = ours / theirs;
  return apart(one, other) < 0.6 * Math.max(ours, theirs) && 0.45 < share && share < 2.2;
}

function apart({ box: [left, top, width, height] }: Face, { box: [x, y, wide, high] }: Face): number {
  return Math.hypot(left + width / 2 - x - wide / 2, top + height / 2 - y - high / 2);
}

/** The mean of faces, weighted by their odds; its score is the first one's, which need not have sides. */
function mean(seen: Seen[]): Face {
  const average = (some: Seen[], of: (face: Face) => number[]): number[] => {
    const total = some.reduce((sum, { odds }) => sum + odds, 0);
    return of(some[0].face).map((_, k) => some.reduce((sum, { odds, face }) => sum + (of(face)[k] * odds) / total, 0));
  };
  const row = Float32Array.from([...average(seen, ({ box, points }) => [...box, ...points.flat()]), seen[0].face.score]);
  const sided = seen.filter(({ face }) => face.sides), found = faceOf(row, [0, 0], [1, 1]);
  if (!sided.length) return found;
  const [x, y, endX, endY] = average(sided, ({ sides = [] }) => sides.flat());
  return { ...found, sides: [[x, y], [endX, endY]] };
}
