/** Pictures and fields in plain arrays, and the affine maps between them. Rows first, channels interleaved. */

/** 8-bit pixels: 3 channels (RGB), or 4 from a canvas. Stored values are clamped, and rounded half to even. */
export interface Picture {
  data: Uint8ClampedArray;
  width: number;
  height: number;
  channels: 3 | 4;
}

/** float32 values, any number of channels. */
export interface Field {
  data: Float32Array;
  width: number;
  height: number;
  channels: number;
}

/** A 2×3 affine map: x' = m[0] x + m[1] y + m[2], y' = m[3] x + m[4] y + m[5]. */
export type Matrix = [number, number, number, number, number, number];

export type Point = [number, number];

export function field(width: number, height: number, channels = 1): Field {
  return { data: new Float32Array(width * height * channels), width, height, channels };
}

export function picture(width: number, height: number): Picture {
  return { data: new Uint8ClampedArray(width * height * 3), width, height, channels: 3 };
}

/** A part of a picture, its first three channels. */
export function cut(image: Picture, left: number, top: number, width: number, height: number): Picture {
  const data = new Uint8ClampedArray(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    let from = ((top + y) * image.width + left) * image.channels;
    for (let x = 0; x < width; x++, from += image.channels, to += 3) {
      for (let k = 0; k < 3; k++) data[to + k] = image.data[from + k];
    }
  }
  return { data, width, height, channels: 3 };
}

export function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}

/** Rounds half to even, as numpy's and OpenCV's rounding does. */
export function rint(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

/** The inverse map, computed in the order of OpenCV's invertAffineTransform. */
export function inverse(m: Matrix): Matrix {
  const determinant = m[0] * m[4] - m[1] * m[3];
  const d = determinant !== 0 ? 1 / determinant : 0;
  const a11 = m[4] * d, a22 = m[0] * d, a12 = -m[1] * d, a21 = -m[3] * d;
  return [a11, a12, -a11 * m[2] - a12 * m[5], a21, a22, -a21 * m[2] - a22 * m[5]];
}

export function apply(m: Matrix, [x, y]: Point): Point {
  return [m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]];
}

/** The map that applies `first`, then `second`. */
export function after(second: Matrix, first: Matrix): Matrix {
  const [a, b, c, d, e, f] = second, [g, h, i, j, k, l] = first;
  return [a * g + b * j, a * h + b * k, a * i + b * l + c, d * g + e * j, d * h + e * k, d * i + e * l + f];
}

/** The factor by which the map scales lengths. */
export function scaleOf(m: Matrix): number {
  return Math.sqrt(Math.abs(m[0] * m[4] - m[1] * m[3]));
}

/** The map for a target grid `multiple` times as fine, with aligned pixel centres. */
export function pixelScaled(m: Matrix, multiple: number): Matrix {
  const shift = (multiple - 1) / 2;
  return [m[0] * multiple, m[1] * multiple, m[2] * multiple + shift,
    m[3] * multiple, m[4] * multiple, m[5] * multiple + shift];
}
