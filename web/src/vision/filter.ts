/** Resizing, smoothing, slopes and distances, with the arithmetic of OpenCV. */

import { type Field, field, type Picture, picture, rint } from "./image";

/** `cv2.resize(..., INTER_AREA)` of an 8-bit picture to a smaller one; the first three channels. */
export function shrink(source: Picture, width: number, height: number): Picture {
  if (source.width === 2 * width && source.height === 2 * height) return halved(source);
  const out = picture(width, height);
  const mean = areaMean(source.data, source.width, source.height, source.channels, 3, width, height);
  for (let i = 0; i < mean.length; i++) out.data[i] = rint(mean[i]);
  return out;
}

/** Half the size, halves rounded up, as OpenCV's own shortcut does. */
function halved({ data, width, height, channels }: Picture): Picture {
  const out = picture(width / 2, height / 2), right = channels, below = width * channels;
  for (let y = 0, to = 0; y < height; y += 2) {
    for (let x = 0, at = y * below; x < width; x += 2, at += 2 * channels) {
      for (let k = at; k < at + 3; k++) out.data[to++] = (data[k] + data[k + right] + data[k + below] + data[k + right + below] + 2) >> 2;
    }
  }
  return out;
}

/** `cv2.resize(..., INTER_AREA)` of a field to a smaller one. */
export function shrinkField(source: Field, width: number, height: number): Field {
  const { data, channels } = source;
  return { data: areaMean(data, source.width, source.height, channels, channels, width, height), width, height, channels };
}

function areaMean(
  data: ArrayLike<number>, fromWidth: number, fromHeight: number, stride: number, channels: number, width: number,
  height: number,
): Float32Array {
  const columns = areaTaps(fromWidth, width), rows = areaTaps(fromHeight, height);
  const out = new Float32Array(width * height * channels);
  const sums = new Float64Array(width * channels);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let j = rows.starts[y]; j < rows.starts[y + 1]; j++) {
      const base = rows.index[j] * fromWidth, share = rows.share[j];
      for (let x = 0; x < width; x++) {
        for (let i = columns.starts[x]; i < columns.starts[x + 1]; i++) {
          const at = (base + columns.index[i]) * stride, weight = share * columns.share[i];
          for (let k = 0; k < channels; k++) sums[x * channels + k] += weight * data[at + k];
        }
      }
    }
    out.set(sums, y * width * channels);
  }
  return out;
}

interface Taps {
  starts: Int32Array;
  index: Int32Array;
  share: Float64Array;
}

/** Which source pixels, and what shares of them, make up each target pixel along one axis. */
function areaTaps(from: number, to: number): Taps {
  const scale = from / to;
  const starts = new Int32Array(to + 1), index: number[] = [], share: number[] = [];
  for (let i = 0; i < to; i++) {
    const begin = i * scale, end = begin + scale, cell = Math.min(scale, from - begin);
    const last = Math.min(Math.floor(end), from - 1), first = Math.min(Math.ceil(begin), last);
    if (first - begin > 1e-3) {
      index.push(first - 1);
      share.push((first - begin) / cell);
    }
    for (let k = first; k < last; k++) {
      index.push(k);
      share.push(1 / cell);
    }
    if (end - last > 1e-3) {
      index.push(last);
      share.push(Math.min(end - last, 1, cell) / cell);
    }
    starts[i + 1] = index.length;
  }
  return { starts, index: Int32Array.from(index), share: Float64Array.from(share) };
}

/** `cv2.resize(..., INTER_LINEAR)` of a field. */
export function resizeLinear(source: Field, width: number, height: number): Field {
  const { data, channels } = source;
  const out = field(width, height, channels);
  const columns = linearTaps(source.width, width), rows = linearTaps(source.height, height);
  for (let y = 0, at = 0; y < height; y++) {
    const upper = rows.low[y] * source.width, lower = rows.high[y] * source.width, fy = rows.share[y];
    for (let x = 0; x < width; x++) {
      const left = columns.low[x], right = columns.high[x], fx = columns.share[x];
      for (let k = 0; k < channels; k++, at++) {
        const p = data[(upper + left) * channels + k], q = data[(upper + right) * channels + k];
        const r = data[(lower + left) * channels + k], s = data[(lower + right) * channels + k];
        const above = p + fx * (q - p), below = r + fx * (s - r);
        out.data[at] = above + fy * (below - above);
      }
    }
  }
  return out;
}

function linearTaps(from: number, to: number) {
  const low = new Int32Array(to), high = new Int32Array(to), share = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const place = (i + 0.5) * (from / to) - 0.5;
    const floor = Math.floor(place);
    low[i] = Math.max(0, Math.min(from - 1, floor));
    high[i] = Math.max(0, Math.min(from - 1, floor + 1));
    share[i] = floor < 0 || floor >= from - 1 ? 0 : place - floor;
  }
  return { low, high, share };
}

/** `cv2.GaussianBlur` of a field, its border mirrored; without a size as wide as OpenCV makes it for float32. */
export function gaussian(source: Field, sigma: number, size = rint(sigma * 8 + 1) | 1): Field {
  const half = size >> 1;
  const kernel = new Float64Array(size);
  let total = 0;
  for (let i = 0; i < size; i++) total += kernel[i] = Math.exp(-((i - half) ** 2) / (2 * sigma * sigma));
  const weights = kernel.map((value) => value / total);
  return convolveColumns(convolveRows(source, weights), weights);
}

function convolveRows(source: Field, kernel: Float64Array): Field {
  const { width, height, channels } = source;
  const out = field(width, height, channels), half = kernel.length >> 1;
  const line = new Float64Array((width + 2 * half) * channels);
  const mirror = mirrored(width, half);
  for (let y = 0; y < height; y++) {
    const row = y * width * channels;
    for (let i = 0; i < mirror.length; i++) {
      for (let k = 0; k < channels; k++) line[i * channels + k] = source.data[row + mirror[i] * channels + k];
    }
    for (let i = 0; i < width * channels; i++) {
      let sum = kernel[half] * line[i + half * channels];
      for (let j = 1; j <= half; j++) {
        sum += kernel[half + j] * (line[i + (half - j) * channels] + line[i + (half + j) * channels]);
      }
      out.data[row + i] = sum;
    }
  }
  return out;
}

function convolveColumns(source: Field, kernel: Float64Array): Field {
  const { width, height, channels } = source;
  const out = field(width, height, channels), half = kernel.length >> 1, stride = width * channels;
  const mirror = mirrored(height, half), sums = new Float64Array(stride);
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let j = 0; j < kernel.length; j++) {
      const row = mirror[y + j] * stride, weight = kernel[j];
      for (let i = 0; i < stride; i++) sums[i] += weight * source.data[row + i];
    }
    out.data.set(sums, y * stride);
  }
  return out;
}

/** Indices of a line with `half` more on either side, mirrored about its end pixels. */
function mirrored(length: number, half: number): Int32Array {
  const out = new Int32Array(length + 2 * half), period = Math.max(2 * (length - 1), 1);
  for (let i = 0; i < out.length; i++) {
    const place = (((i - half) % period) + period) % period;
    out[i] = place < length ? place : period - place;
  }
  return out;
}

/** `cv2.Sobel` (3×3) of one channel: slopes along x and y, times `scale`. */
export function sobel(source: Field, scale: number): { dx: Float32Array; dy: Float32Array } {
  const { data, width, height } = source;
  const dx = new Float32Array(width * height), dy = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const above = (y > 0 ? y - 1 : Math.min(1, height - 1)) * width;
    const here = y * width;
    const below = (y < height - 1 ? y + 1 : Math.max(height - 2, 0)) * width;
    for (let x = 0; x < width; x++) {
      const left = x > 0 ? x - 1 : Math.min(1, width - 1), right = x < width - 1 ? x + 1 : Math.max(width - 2, 0);
      const nw = data[above + left], ne = data[above + right], sw = data[below + left], se = data[below + right];
      dx[here + x] = (ne - nw + 2 * (data[here + right] - data[here + left]) + se - sw) * scale;
      dy[here + x] = (sw - nw + 2 * (data[below + x] - data[above + x]) + se - ne) * scale;
    }
  }
  return { dx, dy };
}

const FAR = 3.4028234663852886e38;
/** Of a straight, a diagonal and a knight's step, in OpenCV's fixed point. */
const STEPS = [1, 1.4, 2.1969].map((value) => Math.round(value * 65536) / 65536);

/**
 * `cv2.distanceTransform(..., DIST_L2, 5)`: from each pixel to the nearest that is 0, in chamfer steps, and (where
 * asked for) the index of that pixel.
 */
export function distance(mask: Uint8Array, width: number, height: number, nearest?: Int32Array): Float32Array {
  const [a, b, c] = STEPS;
  const stride = width + 4;
  const out = new Float64Array(stride * (height + 4)).fill(Infinity);
  const owner = nearest ? new Int32Array(out.length).fill(-1) : null;
  const steps: [number, number][] = [
    [-2 * stride - 1, c], [-2 * stride + 1, c], [-stride - 2, c], [-stride - 1, b], [-stride, a], [-stride + 1, b],
    [-stride + 2, c], [-1, a],
  ];
  const sweep = (y: number, x: number, sign: number) => {
    const at = (y + 2) * stride + x + 2;
    for (const [offset, length] of steps) {
      const other = at + sign * offset;
      if (out[other] + length < out[at]) {
        out[at] = out[other] + length;
        if (owner) owner[at] = owner[other];
      }
    }
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = (y + 2) * stride + x + 2;
      if (mask[y * width + x] === 0) {
        out[at] = 0;
        if (owner) owner[at] = y * width + x;
      } else sweep(y, x, 1);
    }
  }
  const result = new Float32Array(width * height);
  for (let y = height - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--) {
      sweep(y, x, -1);
      const at = (y + 2) * stride + x + 2;
      result[y * width + x] = Number.isFinite(out[at]) ? out[at] : FAR;
      if (owner && nearest) nearest[y * width + x] = owner[at];
    }
  }
  return result;
}
