/** Estimates the light on a face from its skin, to light a mask alike; as in `maskhub.masks.lighting`. */

import type { Head } from "./fit";
import type { Tables } from "./tables";
import type { Landmarks } from "../faces/landmarks";
import { clamp, cut, type Picture } from "../vision/image";
import { shrink, sobel } from "../vision/filter";
import { rank, solve } from "../vision/numbers";
import { warp } from "../vision/warp";

const THUMB = 72;
const SKIN = [1.63, 0.845, 0.58];
export const LUMA = [0.2126, 0.7152, 0.0722];
const CAST = 0.15, SHARES = [0.17, 0.1, 0.13], WHITE = 1.35;
const SHADE_RANGE = [0.22, 1.75];

export interface Light {
  /** of 1, x, y, z, x², xy, y² of a normal */
  shade: number[];
  /** the linear value of a white fabric at shade 1 */
  exposure: number[];
  /** 0 (grey) to 1 */
  saturation: number;
  blur: number;
  grain: number;
  /** the skin's median colour, 0 to 255 */
  skin: number[];
}

/** The shade for a normal, which need not have length 1. */
export function shadeOn({ shade: c }: Light, x: number, y: number, z: number): number {
  const value = c[0] + c[1] * x + c[2] * y + c[3] * z + x * (c[4] * x + c[5] * y) + c[6] * y * y;
  return clamp(value, SHADE_RANGE[0], SHADE_RANGE[1]);
}

const LINEAR = Float32Array.from({ length: 256 }, (_, i) => (i / 255) ** 2.2);
const TONE_STEPS = 4096;
/** sRGB of linear values 0 to 4, by their square root, highlights rolled off as a camera does. */
const TONES = Float32Array.from({ length: 2 * TONE_STEPS }, (_, i) => {
  const linear = ((i + 0.5) / TONE_STEPS) ** 2, knee = 0.72;
  const soft = knee + (1 - knee) * (1 - Math.exp(-(linear - knee) / (1 - knee)));
  return (linear > knee ? soft : linear) ** (1 / 2.2);
});

export const toLinear = (srgb: number): number => (srgb / 255) ** 2.2;
export const toSrgb = (linear: number): number => TONES[Math.min(Math.sqrt(Math.max(linear, 0)) * TONE_STEPS, 2 * TONE_STEPS - 1) | 0];
const luma = (values: ArrayLike<number>, at = 0): number => values[at] * LUMA[0] + values[at + 1] * LUMA[1] + values[at + 2] * LUMA[2];

/** Estimate the light on a face. */
export function readLight(image: Picture, marks: Landmarks, head: Head, tables: Tables): Light {
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < marks.points.length; i += 3) {
    for (const k of [0, 1]) {
      low[k] = Math.min(low[k], marks.points[i + k]);
      high[k] = Math.max(high[k], marks.points[i + k]);
    }
  }
  const side = Math.max(high[0] - low[0], high[1] - low[1]) * 1.1;
  const corner = [(low[0] + high[0]) / 2 - side / 2, (low[1] + high[1]) / 2 - side / 2];
  const thumb = thumbOf(image, corner, side).data, linear = new Float32Array(thumb.length).map((_, i) => LINEAR[thumb[i]]);
  const place = (i: number): number[] => [0, 1].map((k) => ((marks.points[3 * i + k] - corner[k]) * THUMB) / side - 0.5);

  const { normals, colours } = skinSamples(linear, place, head, tables);
  const fit = fitShade(normals, colours.map((colour) => luma(colour)));
  const inlying = colours.filter((_, i) => fit.inlier[i]);
  const skin = [0, 1, 2].map((k) => rank(inlying.map((colour) => colour[k]), 0.5));

  const brightness = Math.max(luma(skin), 1e-4), most = Math.max(...skin);
  const saturation = clamp(((most - Math.min(...skin)) / Math.max(most, 1e-4) - 0.12) / 0.33, 0, 1);
  const tint = skin.map((value, k) => (Math.max(value / brightness, 1e-3) / SKIN[k]) ** (CAST * saturation));
  const white = tint.map((value) => clamp(value / Math.max(luma(tint), 1e-3), 0.55, 1.8));
  const exposure = exposureOf(fit.level, linear, place, image);
  return {
    shade: fit.shade, exposure: white.map((value) => value * exposure), saturation, ...sharpnessOf(image, marks, head),
    skin: skin.map((value) => toSrgb(value) * 255),
  };
}

/** Normals in the photo and linear colours of the landmarks on skin that face the camera. */
function skinSamples(linear: Float32Array, place: (i: number) => number[], head: Head, tables: Tables) {
  const r = head.rotation, bare = new Set(tables.bare);
  const all = Array.from({ length: 468 }, (_, i) => {
    const [x, y, z] = tables.normals.slice(3 * i, 3 * i + 3);
    const normal = [0, 1, 2].map((k) => x * r[3 * k] + y * r[3 * k + 1] + z * r[3 * k + 2]);
    const at = place(i), [column, row] = at.map((value) => clamp(Math.round(value), 0, THUMB - 1));
    const inside = Math.min(...at) > -1 && Math.max(...at) < THUMB;
    return { normal, colour: [...linear.subarray(3 * (row * THUMB + column), 3 * (row * THUMB + column) + 3)], inside, bare: bare.has(i) };
  });
  let used = all.filter((one) => one.bare && one.inside && one.normal[2] < -0.25);
  if (used.length < 40) used = all.filter((one) => one.normal[2] < 0.2);
  return { normals: used.map((one) => one.normal), colours: used.map((one) => one.colour) };
}

/** A robust ridge fit of the shade to the skin. */
function fitShade(normals: number[][], brightness: number[]) {
  const basis = normals.map(([x, y, z]) => [1, x, y, z + 0.8, x * x - 0.25, x * y, y * y - 0.2]);
  const level = rank(brightness, 0.5) + 1e-4, target = brightness.map((value) => value / level);
  const ridge = [1e-3, 1.2, 1.2, 4, 6, 6, 6].map((value) => (value * target.length) / 150);
  const modelled = (row: number[], c: number[]): number => row.reduce((sum, value, k) => sum + value * c[k], 0);
  let weight = target.map(() => 1), c: number[] = [];
  for (let round = 0; round < 3; round++) {
    const system = ridge.map((value, i) => Float64Array.from(ridge, (_, j) => (i === j ? value : 0)));
    const right = ridge.map(() => new Float64Array(1));
    basis.forEach((row, n) => {
      for (let i = 0; i < 7; i++) {
        for (let j = 0; j < 7; j++) system[i][j] += row[i] * weight[n] * row[j];
        right[i][0] += row[i] * weight[n] * target[n];
      }
    });
    c = solve(system, right).map((row) => row[0]);
    const errors = basis.map((row, n) => target[n] - modelled(row, c));
    // hair, brows and beards are darker than skin: values below the fit count less than values above
    const scale = 1.5 * rank(errors.map(Math.abs), 0.5) + 0.03;
    weight = errors.map((error) => 1 / (1 + (error / (error < 0 ? scale : 1.6 * scale)) ** 2));
  }
  let inlier = weight.map((value) => value > 0.4);
  if (inlier.filter(Boolean).length < 10) inlier = inlier.map(() => true);
  const kept = basis.filter((_, n) => inlier[n]);
  const mean = kept.reduce((sum, row) => sum + modelled(row, c), 0) / kept.length;
  c = c.map((value) => value / Math.max(mean, 0.2));
  // some light comes from above in nearly every photo, and folds need a direction to show
  c[2] = Math.min(c[2], -0.22);
  c[3] = Math.min(c[3], -0.25);
  const shade = [c[0] + 0.8 * c[3] - 0.25 * c[4] - 0.2 * c[6], ...c.slice(1)];
  return { shade, level: level * Math.max(mean, 0.2), inlier };
}

function thumbOf(image: Picture, corner: number[], side: number): Picture {
  const scale = THUMB / side;
  if (scale < 0.6) {
    const x0 = Math.max(Math.floor(corner[0]), 0), y0 = Math.max(Math.floor(corner[1]), 0);
    const width = Math.min(Math.max(Math.ceil(corner[0] + side), x0 + 1), image.width) - x0;
    const height = Math.min(Math.max(Math.ceil(corner[1] + side), y0 + 1), image.height) - y0;
    if (width > 0 && height > 0) {
      const factor = Math.min(Math.trunc(0.5 + 1 / scale), width, height), grow = factor * scale;
      const columns = Math.floor(width / factor), rows = Math.floor(height / factor);
      const small = shrink(cut(image, x0, y0, columns * factor, rows * factor), columns, rows);
      return warp(small, [grow, 0, (x0 - corner[0]) * scale, 0, grow, (y0 - corner[1]) * scale], THUMB, THUMB);
    }
  }
  return warp(image, [scale, 0, -corner[0] * scale, 0, scale, -corner[1] * scale], THUMB, THUMB);
}

/** The linear value of a white, evenly lit surface; the exponents are those of `white_level` in maskhub/masks/lighting.py. */
function exposureOf(level: number, linear: Float32Array, place: (i: number) => number[], image: Picture): number {
  const eyes: number[] = [];
  for (const [outer, inner] of [[33, 133], [263, 362]]) {
    const a = place(outer).map((value) => value + 0.5), b = place(inner).map((value) => value + 0.5);
    const [x, y] = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const reach = Math.max(Math.max(Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1])) / 2, 2);
    const [x0, x1] = [x - reach, x + reach + 1].map((value) => Math.trunc(clamp(value, 0, THUMB)));
    const [y0, y1] = [y - 0.35 * reach, y + 0.35 * reach + 1].map((value) => Math.trunc(clamp(value, 0, THUMB)));
    const values: number[] = [];
    for (let row = y0; row < y1; row++) for (let column = x0; column < x1; column++) values.push(luma(linear, 3 * (row * THUMB + column)));
    if (values.length) eyes.push(rank(values, 0.9));
  }
  const step = Math.max(1, Math.floor(Math.max(image.width, image.height) / 48)), values: number[] = [];
  for (let y = 0; y < image.height; y += step) {
    for (let x = 0; x < image.width; x += step) {
      const at = (y * image.width + x) * image.channels;
      values.push(LINEAR[image.data[at]] * LUMA[0] + LINEAR[image.data[at + 1]] * LUMA[1] + LINEAR[image.data[at + 2]] * LUMA[2]);
    }
  }
  const brightest = rank(values, 0.97), seen = [level, eyes.length ? Math.max(...eyes) : 0.9 * level, brightest];
  const white = seen.reduce((product, value, i) => product * Math.max(value, 1e-3) ** SHARES[i], WHITE);
  return Math.max(Math.min(white, level / 0.05, 2 * Math.max(brightest, level)), level / 0.65);
}

/** The photo's blur (from its sharpest edges around the eyes) and its grain (from smooth skin), in its pixels. */
function sharpnessOf(image: Picture, { points }: Landmarks, head: Head): { blur: number; grain: number } {
  const eyes = [33, 263, 70, 300, 105, 334, 6], margin = 0.08 * head.width;
  const span = [0, 1].map((k) => {
    const values = eyes.map((i) => Math.fround(points[3 * i + k]));
    return [Math.trunc(Math.max(Math.min(...values) - margin, 0)), Math.trunc(Math.max(...values) + margin) + 1];
  });
  const [x0, y0] = [span[0][0], span[1][0]], width = Math.min(span[0][1], image.width) - x0, height = Math.min(span[1][1], image.height) - y0;
  if (width < 6 || height < 6) return { blur: 0.6, grain: 1 };
  const part = cut(image, x0, y0, width, height), grey = new Float32Array(width * height);
  for (let i = 0; i < grey.length; i++) {
    // as OpenCV's whole-number weights round it
    grey[i] = (part.data[3 * i] * 9798 + part.data[3 * i + 1] * 19235 + part.data[3 * i + 2] * 3735 + 16384) >> 15;
  }
  const { dx, dy } = sobel({ data: grey, width, height, channels: 1 }, 1 / 8);
  const steepest = Math.sqrt(rank(dx.map((value, i) => value * value + dy[i] * dy[i]), 0.985));
  let blur = (rank(grey, 0.97) - rank(grey, 0.03)) / (2.5 * Math.max(steepest, 0.5));
  // calibrated on sharp faces blurred by known amounts
  blur = clamp(Math.sqrt(Math.max((blur ** 2 - 3.6) / 2.3, 0.1)), 0.3, 0.04 * head.width + 0.3);

  const reach = Math.max(3, Math.trunc(0.05 * head.width));
  const noise = [50, 280, 151, 205, 425].map((i) => noiseAbout(image, Math.trunc(points[3 * i]), Math.trunc(points[3 * i + 1]), reach));
  const heard = noise.filter((value): value is number => value !== null);
  return { blur, grain: clamp(heard.length ? rank(heard, 0.5) : 0.5, 0.2, 12) };
}

/** Immerkær: "Fast Noise Variance Estimation", 1996, on the green channel of a patch; null if too little of it is in the photo. */
function noiseAbout(image: Picture, x: number, y: number, reach: number): number | null {
  const x0 = Math.max(x - reach, 0), y0 = Math.max(y - reach, 0), x1 = Math.min(x + reach, image.width), y1 = Math.min(y + reach, image.height);
  if (Math.min(x1 - x0, y1 - y0) < 5) return null;
  const green = (column: number, row: number): number => image.data[(row * image.width + column) * image.channels + 1];
  let sum = 0, count = 0;
  for (let row = y0 + 1; row < y1 - 1; row++) {
    for (let column = x0 + 1; column < x1 - 1; column++, count++) {
      sum += Math.abs(
        green(column - 1, row - 1) + green(column + 1, row - 1) + green(column - 1, row + 1) + green(column + 1, row + 1)
        - 2 * (green(column, row - 1) + green(column, row + 1) + green(column - 1, row) + green(column + 1, row)) + 4 * green(column, row),
      );
    }
  }
  return ((sum / count) * Math.sqrt(Math.PI / 2)) / 6;
}
