/** Runs the face landmark network on a crop of a photo, as in `maskhub.faces.mesh`. */

import type { Networks } from "../networks";
import { shrink } from "../vision/filter";
import { clamp, cut, type Matrix, type Picture, type Point } from "../vision/image";
import { warp } from "../vision/warp";

export const PRESENT = 0.6;
const SIDE = 256;
const SHARES = Float32Array.from({ length: 256 }, (_, value) => value / 255);

/** Landmarks, 478 × (x, y, z) in the photo's pixels, and the network's confidence that there is a face, 0 to 1. */
interface Look {
  points: Float64Array;
  presence: number;
}

/** Run the network on one turned square crop. */
export async function look(
  networks: Networks, image: Picture, centre: Point, side: number, across: Point,
): Promise<Look> {
  const down: Point = [-across[1], across[0]], scale = SIDE / side, zoom = side / SIDE;
  const [a, b, c, d] = [across[0] * scale, across[1] * scale, down[0] * scale, down[1] * scale];
  let matrix: Matrix = [a, b, SIDE / 2 - (a * centre[0] + b * centre[1]), c, d, SIDE / 2 - (c * centre[0] + d * centre[1])];
  let source = image;
  if (zoom > 2) [source, matrix] = shrunk(image, matrix, centre, side, zoom);
  const crop = warp(source, matrix, SIDE, SIDE), data = new Float32Array(crop.data.length);
  for (let i = 0; i < data.length; i++) data[i] = SHARES[crop.data[i]];
  const out = await networks.run("landmarks", { data, dims: [1, SIDE, SIDE, 3] });
  const at = out.Identity, points = new Float64Array(at.length);
  for (let i = 0; i < at.length; i += 3) {
    const x = at[i] - SIDE / 2, y = at[i + 1] - SIDE / 2;
    points[i] = Math.fround((across[0] * x + down[0] * y) * zoom + centre[0]);
    points[i + 1] = Math.fround((across[1] * x + down[1] * y) * zoom + centre[1]);
    points[i + 2] = Math.fround(at[i + 2] * zoom);
  }
  return { points, presence: 1 / (1 + Math.exp(-clamp(out.Identity_1[0], -60, 60))) };
}

/** The part of the photo around the crop, scaled down by an integer factor, and its matrix. */
function shrunk(image: Picture, matrix: Matrix, centre: Point, side: number, zoom: number): [Picture, Matrix] {
  const factor = Math.floor(zoom), reach = side * 0.75;
  const x0 = Math.trunc(clamp(centre[0] - reach, 0, image.width - factor)), y0 = Math.trunc(clamp(centre[1] - reach, 0, image.height - factor));
  const x1 = Math.trunc(clamp(centre[0] + reach, x0 + factor, image.width)), y1 = Math.trunc(clamp(centre[1] + reach, y0 + factor, image.height));
  const width = Math.floor((x1 - x0) / factor), height = Math.floor((y1 - y0) / factor);
  const part = cut(image, x0, y0, width * factor, height * factor);
  const [a, b, c, d, e, f] = matrix, half = (factor - 1) / 2;
  return [shrink(part, width, height), [
    a * factor, b * factor, c + a * (x0 + half) + b * (y0 + half), d * factor, e * factor, f + d * (x0 + half) + e * (y0 + half),
  ]];
}
