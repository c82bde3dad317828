/** Places a face by its landmarks, in the same way however the photo is turned, as in `maskhub.faces.settle`. */

import type { Networks } from "../networks";
import type { Picture, Point } from "../vision/image";
import { angleOf, type Face } from "./face";
import { look, PRESENT } from "./mesh";

/** The landmarks around each eye, the person's right one first. */
const EYES = [
  [33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246],
  [263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466],
];
const NOSE_AND_MOUTH = [1, 61, 291];
const MESH = 468;
const FIRST_SIDE = 1.25, FIRST_BELOW = 0.05, NEXT_SIDE = 1.55, NEXT_BELOW = 0.294;
const LOOKS = 4, TRIES = 2;
const STILL = 0.02;
const AWAY = 0.35;

/** A face placed by its landmarks, and the network's confidence that there is one, 0 to 1. */
export interface Settled {
  face: Face;
  presence: number;
}

/** A detected face placed by its landmarks; null if they don't settle or, with `surely`, if the network is unsure. */
export async function settled(networks: Networks, image: Picture, face: Face, surely = true): Promise<Settled | null> {
  const [left, top, width, height] = face.box, size = Math.max(width, height);
  const start: Point = [left + width / 2, top + height / 2], angle = angleOf(face);
  let across: Point = [Math.cos(angle), Math.sin(angle)];
  let centre: Point = [start[0] - FIRST_BELOW * size * across[1], start[1] + FIRST_BELOW * size * across[0]];
  let side = FIRST_SIDE * size, before: Point[] | null = null;
  for (let number = 0; number < LOOKS; number++) {
    const { points, presence } = await look(networks, image, centre, side, across);
    const middle = middleOf(points);
    if (Math.hypot(middle[0] - start[0], middle[1] - start[1]) > AWAY * size) return null;
    if (surely && presence < PRESENT && number >= TRIES - 1) return null;
    const { five, sides, across: eyes } = measured(points);
    across = eyes;
    const span = along(across, [sides[1][0] - sides[0][0], sides[1][1] - sides[0][1]]);
    const now: Point[] = [five[0], five[1], ...sides];
    if (before) {
      const old: Point[] = before;
      const moved = now.reduce((sum, [x, y], i) => sum + Math.hypot(x - old[i][0], y - old[i][1]) / 4, 0) / span;
      if (moved < STILL) return { face: { ...face, points: five, sides }, presence };
    }
    before = now;
    const below = NEXT_BELOW * span;
    centre = [(five[0][0] + five[1][0]) / 2 - below * across[1], (five[0][1] + five[1][1]) / 2 + below * across[0]];
    const aside = along(across, [(sides[0][0] + sides[1][0]) / 2 - centre[0], (sides[0][1] + sides[1][1]) / 2 - centre[1]]) / 2;
    centre = [centre[0] + aside * across[0], centre[1] + aside * across[1]];
    side = NEXT_SIDE * span;
  }
  return null;
}

function along([x, y]: Point, by: Point): number {
  return x * by[0] + y * by[1];
}

function middleOf(points: Float64Array): Point {
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < 3 * MESH; i += 3) {
    for (const k of [0, 1]) {
      low[k] = Math.min(low[k], points[i + k]);
      high[k] = Math.max(high[k], points[i + k]);
    }
  }
  return [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
}

/** Eyes, nose and corners of the mouth; the outermost points at the height of the eyes; the unit vector along the eyes. */
function measured(points: Float64Array): { five: Point[]; sides: Point[]; across: Point } {
  const at = (i: number): Point => [points[3 * i], points[3 * i + 1]];
  const eyes = EYES.map((eye): Point => {
    const sum = eye.map(at).reduce(([a, b], [c, d]) => [a + c, b + d]);
    return [sum[0] / eye.length, sum[1] / eye.length];
  });
  const dx = eyes[1][0] - eyes[0][0], dy = eyes[1][1] - eyes[0][1], length = Math.max(Math.hypot(dx, dy), 1e-9);
  const across: Point = [dx / length, dy / length];
  const middle: Point = [(eyes[0][0] + eyes[1][0]) / 2, (eyes[0][1] + eyes[1][1]) / 2];
  let low = Infinity, high = -Infinity;
  for (let i = 0; i < MESH; i++) {
    const value = along(across, at(i));
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const from = along(across, middle);
  const sides = [low, high].map((end): Point => [middle[0] + (end - from) * across[0], middle[1] + (end - from) * across[1]]);
  return { five: [...eyes, ...NOSE_AND_MOUTH.map(at)], sides, across };
}
