/** What a network changed in a crop, and whether the crop was too small; as in `maskhub.pipelines.changed`. */

import { BEYOND, edgeWindow, EYE_HEIGHT } from "./faces/align";
import { apply, clamp, type Field, field, inverse, type Matrix, type Picture, rint } from "./vision/image";
import { gaussianWithin } from "./vision/filter";

const ATTENTIVE = 0.8;
const WIDER = 1.16;
const LOWEST = 0.05, CHANGED = 12, REACHED = 0.15;
const THIRD = Math.fround(1 / 3);

type Size = { width: number; height: number };

/** The soft region that changed; exactly 0 at the crop's edges, except those that are the photo's. */
export function changedRegion(before: Picture, after: Picture, matrix: Matrix, photo: Size): Field {
  const side = before.height, change = field(side, side), rows = [side, -1], columns = [side, -1];
  let count = 0;
  for (let y = 0, i = 0; y < side; y++) {
    for (let x = 0; x < side; x++, i++) {
      const sum = difference(before.data, after.data, 3 * i);
      if (!sum) continue;
      change.data[i] = sum * THIRD;
      count++;
      if (x < columns[0]) columns[0] = x;
      if (x > columns[1]) columns[1] = x;
      if (y < rows[0]) rows[0] = y;
      rows[1] = y;
    }
  }
  if (!count) return change;
  const attentive = count < ATTENTIVE * side * side;
  const [low, high, smooth] = attentive ? [0.5, 6, 0.01] : [6, 30, 0.03];
  const soft = gaussianWithin(change, smooth * side, columns, rows), window = edgeWindow(matrix, side, photo);
  for (let i = 0; i < soft.data.length; i++) {
    const ramp = clamp((soft.data[i] - low) / (high - low), 0, 1);
    soft.data[i] = ramp * ramp * (3 - 2 * ramp) * window.data[i];
  }
  return soft;
}

/** How much the colour of a pixel changed, summed over its channels. */
function difference(before: Uint8ClampedArray, after: Uint8ClampedArray, at: number): number {
  return Math.abs(after[at] - before[at]) + Math.abs(after[at + 1] - before[at + 1]) + Math.abs(after[at + 2] - before[at + 2]);
}

/** The factor by which a crop must be widened if a mask extends beyond it; 1 if none does. */
export function widerFor(before: Picture, after: Picture, matrix: Matrix, photo: Size): number {
  const side = before.height, rows = Math.max(rint(LOWEST * side), 1);
  let count = 0;
  for (let i = (side - rows) * side; i < side * side; i++) {
    if (difference(before.data, after.data, 3 * i) / 3 > CHANGED) count++;
  }
  if (count <= REACHED * rows * side) return 1;
  const back = inverse(matrix);
  const upper = apply(back, [side / 2, 0]), lower = apply(back, [side / 2, side]);
  const ends = [photo.width, photo.height];
  let left = Infinity; // the part of the photo below the crop, as a share of the crop's side
  for (const i of [0, 1]) {
    if (upper[i] === lower[i]) continue;
    const end = lower[i] > upper[i] ? ends[i] : 0;
    left = Math.min(left, (end - lower[i]) / (lower[i] - upper[i]));
  }
  return left > BEYOND ? Math.min(1 + left / (1 - EYE_HEIGHT), WIDER) : 1;
}
