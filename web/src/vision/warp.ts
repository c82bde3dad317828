/**
 * Sampling pictures along affine maps and free coordinates, with the arithmetic of OpenCV 5: coordinates and weights
 * in float32, results rounded half to even. It matches `cv2.warpAffine` and `cv2.remap` to the last bit but for one
 * pixel in some thousands, which differs by 1.
 */

import { type Field, field, inverse, type Matrix, type Picture, picture, rint } from "./image";

export type Border = "replicate" | "zero" | "wrap";

/** `cv2.warpAffine(..., INTER_LINEAR, BORDER_REPLICATE)` of an 8-bit picture; the first three channels. */
export function warp(source: Picture, matrix: Matrix, width: number, height: number): Picture {
  const out = picture(width, height);
  const [a, b, c, d, e, f] = inverse(matrix);
  const { data, channels } = source;
  const right = source.width - 1, bottom = source.height - 1, stride = source.width * channels;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      const sx = Math.fround(a * x + b * y + c), sy = Math.fround(d * x + e * y + f);
      const left = Math.floor(sx), top = Math.floor(sy);
      const fx = sx - left, fy = sy - top;
      const x0 = (left < 0 ? 0 : left > right ? right : left) * channels;
      const x1 = (left < -1 ? 0 : left >= right ? right : left + 1) * channels;
      const y0 = (top < 0 ? 0 : top > bottom ? bottom : top) * stride;
      const y1 = (top < -1 ? 0 : top >= bottom ? bottom : top + 1) * stride;
      for (let k = 0; k < 3; k++) {
        const p = data[y0 + x0 + k], q = data[y1 + x0 + k];
        const upper = p + fx * (data[y0 + x1 + k] - p), lower = q + fx * (data[y1 + x1 + k] - q);
        const value = upper + fy * (lower - upper), rounded = (value + 0.5) | 0;
        out.data[at + k] = rounded - value === 0.5 ? rounded & ~1 : rounded; // half to even
      }
    }
  }
  return out;
}

/** `cv2.warpAffine(..., INTER_CUBIC, BORDER_REPLICATE)` of an 8-bit picture, where `shown` is above 0. */
export function warpCubic(source: Picture, matrix: Matrix, width: number, height: number, shown: Float32Array): Picture {
  const out = picture(width, height);
  const [a, b, c, d, e, f] = inverse(matrix);
  const { data, channels } = source;
  const right = source.width - 1, bottom = source.height - 1, stride = source.width * channels;
  const wx = new Float64Array(4), wy = new Float64Array(4), xs = new Int32Array(4), ys = new Int32Array(4);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      if (!(shown[y * width + x] > 0)) continue;
      const sx = Math.fround(a * x + b * y + c), sy = Math.fround(d * x + e * y + f);
      const left = Math.floor(sx), top = Math.floor(sy);
      cubicWeights(sx - left, wx);
      cubicWeights(sy - top, wy);
      for (let i = 0; i < 4; i++) {
        const px = left + i - 1, py = top + i - 1;
        xs[i] = (px < 0 ? 0 : px > right ? right : px) * channels;
        ys[i] = (py < 0 ? 0 : py > bottom ? bottom : py) * stride;
      }
      for (let k = 0; k < 3; k++) {
        let sum = 0;
        for (let j = 0; j < 4; j++) {
          const row = ys[j] + k;
          sum += wy[j] * (wx[0] * data[row + xs[0]] + wx[1] * data[row + xs[1]]
            + wx[2] * data[row + xs[2]] + wx[3] * data[row + xs[3]]);
        }
        const value = rint(sum);
        out.data[at + k] = value < 0 ? 0 : value > 255 ? 255 : value;
      }
    }
  }
  return out;
}

const SHARP = -0.75;

function cubicWeights(x: number, out: Float64Array): void {
  const y = 1 - x;
  out[0] = ((SHARP * (x + 1) - 5 * SHARP) * (x + 1) + 8 * SHARP) * (x + 1) - 4 * SHARP;
  out[1] = ((SHARP + 2) * x - (SHARP + 3)) * x * x + 1;
  out[2] = ((SHARP + 2) * y - (SHARP + 3)) * y * y + 1;
  out[3] = 1 - out[0] - out[1] - out[2];
}

/** `cv2.warpAffine(..., INTER_LINEAR)` of a field. */
export function warpField(source: Field, matrix: Matrix, width: number, height: number, border: Border): Field {
  const back = inverse(matrix);
  const size = width * height;
  const x = new Float32Array(size), y = new Float32Array(size);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) {
      x[at] = back[0] * column + back[1] * row + back[2];
      y[at] = back[3] * column + back[4] * row + back[5];
    }
  }
  return remap(source, x, y, width, height, border);
}

/** `cv2.remap(..., INTER_LINEAR)`: the field at free coordinates, width×height of them. */
export function remap(
  source: Field, x: Float32Array, y: Float32Array, width: number, height: number, border: Border,
): Field {
  const { data, channels } = source;
  const out = field(width, height, channels);
  const limitX = source.width, limitY = source.height;
  const clampTo = (value: number, limit: number): number => {
    if (value >= 0 && value < limit) return value;
    if (border === "zero") return -1;
    if (border === "wrap") return ((value % limit) + limit) % limit;
    return value < 0 ? 0 : limit - 1;
  };
  for (let i = 0, at = 0; i < x.length; i++, at += channels) {
    const left = Math.floor(x[i]), top = Math.floor(y[i]);
    const fx = x[i] - left, fy = y[i] - top;
    const x0 = clampTo(left, limitX), x1 = clampTo(left + 1, limitX);
    const y0 = clampTo(top, limitY), y1 = clampTo(top + 1, limitY);
    for (let k = 0; k < channels; k++) {
      const p = x0 < 0 || y0 < 0 ? 0 : data[(y0 * limitX + x0) * channels + k];
      const q = x1 < 0 || y0 < 0 ? 0 : data[(y0 * limitX + x1) * channels + k];
      const r = x0 < 0 || y1 < 0 ? 0 : data[(y1 * limitX + x0) * channels + k];
      const s = x1 < 0 || y1 < 0 ? 0 : data[(y1 * limitX + x1) * channels + k];
      const upper = p + fx * (q - p), lower = r + fx * (s - r);
      out.data[at + k] = upper + fy * (lower - upper);
    }
  }
  return out;
}
