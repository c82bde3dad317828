/** Resizing, smoothing, slopes and distances, with the arithmetic of OpenCV. */

import { type Field, field, type Picture, picture, rint } from "./image";

/** `cv2.resize(..., INTER_AREA)` of an 8-bit picture to a smaller one; the first three channels. */
export function shrink(source: Picture, width: number, height: number): Picture {
  if (source.width === 2 * width && source.height === 2 * height) return halved(source);
  const out = picture(width, height);
  areaMean(source.data, source.width, source.height, source.channels, 3, width, height, out.data);
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
  const out = field(width, height, source.channels);
  areaMean(source.data, source.width, source.height, source.channels, source.channels, width, height, out.data);
  return out;
}

function areaMean(
  data: ArrayLike<number>, fromWidth: number, fromHeight: number, stride: number, channels: number, width: number,
  height: number, out: Float32Array | Uint8ClampedArray,
): void {
  const columns = areaTaps(fromWidth, width), rows = areaTaps(fromHeight, height), { starts, index, share } = columns;
  const across = fromWidth * stride, line = new Float64Array(across), sums = new Float32Array(width * channels);
  for (let y = 0; y < height; y++) {
    line.fill(0);
    for (let j = rows.starts[y]; j < rows.starts[y + 1]; j++) {
      const base = rows.index[j] * across, part = rows.share[j];
      for (let i = 0; i < across; i++) line[i] += part * data[base + i];
    }
    for (let x = 0, to = 0; x < width; x++) {
      const first = starts[x], end = starts[x + 1];
      for (let k = 0; k < channels; k++) {
        let sum = 0;
        for (let i = first; i < end; i++) sum += share[i] * line[index[i] * stride + k];
        sums[to++] = sum; // OpenCV's means are float32 before they are rounded
      }
    }
    out.set(sums, y * width * channels);
  }
}

interface Taps {
  starts: Int32Array;
  index: Int32Array;
  share: Float64Array;
}

/** The source pixels, and their weights, that make up each target pixel along one axis. */
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

/** `cv2.GaussianBlur` of a field with a mirrored border; without a size, OpenCV's own for float32. */
export function gaussian(source: Field, sigma: number, size = rint(sigma * 8 + 1) | 1): Field {
  const half = size >> 1;
  const kernel = new Float64Array(size);
  let total = 0;
  for (let i = 0; i < size; i++) total += kernel[i] = Math.exp(-((i - half) ** 2) / (2 * sigma * sigma));
  const weights = kernel.map((value) => value / total);
  return convolveColumns(convolveRows(source, weights), weights);
}

/** The same for a field that is 0 outside some columns and rows (first and last): only what they affect is smoothed. */
export function gaussianWithin(source: Field, sigma: number, columns: number[], rows: number[]): Field {
  const size = rint(sigma * 8 + 1) | 1, { width, height } = source;
  // twice the kernel's radius: once for what is affected, once more so that what the border mirrors is 0
  const x0 = Math.max(0, columns[0] - size), x1 = Math.min(width, columns[1] + 1 + size);
  const y0 = Math.max(0, rows[0] - size), y1 = Math.min(height, rows[1] + 1 + size);
  const part = field(x1 - x0, y1 - y0), out = field(width, height);
  for (let y = y0; y < y1; y++) part.data.set(source.data.subarray(y * width + x0, y * width + x1), (y - y0) * part.width);
  const smooth = gaussian(part, sigma, size);
  for (let y = y0; y < y1; y++) {
    const from = (y - y0) * part.width;
    out.data.set(smooth.data.subarray(from, from + part.width), y * width + x0);
  }
  return out;
}

function convolveRows({ data, width, height, channels }: Field, kernel: Float64Array): Field {
  const out = field(width, height, channels), to = out.data, half = kernel.length >> 1, count = width * channels, middle = half * channels;
  const mirror = mirrored(width, half), line = new Float32Array(count + 2 * middle), weights = kernel.slice(half), weight = weights[0];
  for (let y = 0, row = 0; y < height; y++, row += count) {
    line.set(data.subarray(row, row + count), middle);
    for (let i = 0; i < half; i++) {
      for (let k = 0; k < channels; k++) {
        line[i * channels + k] = data[row + mirror[i] * channels + k];
        line[(half + width + i) * channels + k] = data[row + mirror[half + width + i] * channels + k];
      }
    }
    for (let i = 0; i < count; i++) {
      let sum = weight * line[i + middle];
      for (let j = 1, left = i + middle - channels, right = i + middle + channels; j <= half; j++, left -= channels, right += channels) {
        sum += weights[j] * (line[left] + line[right]);
      }
      to[row + i] = sum;
    }
  }
  return out;
}

function convolveColumns({ data, width, height, channels }: Field, kernel: Float64Array): Field {
  const out = field(width, height, channels), half = kernel.length >> 1, stride = width * channels;
  const mirror = mirrored(height, half), sums = new Float64Array(stride);
  for (let y = 0; y < height; y++) {
    const here = mirror[y + half] * stride, weight = kernel[half];
    for (let i = 0; i < stride; i++) sums[i] = weight * data[here + i];
    for (let j = 1; j <= half; j += 2) {
      // two rows on either side at once; of an even number's last the second has no weight
      const far = Math.min(j + 1, half), near = kernel[half + j], further = j < half ? kernel[half + far] : 0;
      const a = mirror[y + half - j] * stride, b = mirror[y + half + j] * stride;
      const c = mirror[y + half - far] * stride, d = mirror[y + half + far] * stride;
      for (let i = 0; i < stride; i++) sums[i] += near * (data[a + i] + data[b + i]) + further * (data[c + i] + data[d + i]);
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
export function sobel({ data, width, height }: Field, scale: number): { dx: Float32Array; dy: Float32Array } {
  const dx = new Float32Array(width * height), dy = new Float32Array(width * height), last = width - 1;
  for (let y = 0; y < height; y++) {
    const above = (y > 0 ? y - 1 : Math.min(1, height - 1)) * width;
    const here = y * width;
    const below = (y < height - 1 ? y + 1 : Math.max(height - 2, 0)) * width;
    // the border is mirrored
    let left = Math.min(1, last), nw = data[above + left], w = data[here + left], sw = data[below + left];
    let n = data[above], middle = data[here], s = data[below];
    for (let x = 0; x < width; x++) {
      const right = x < last ? x + 1 : Math.max(last - 1, 0);
      const ne = data[above + right], e = data[here + right], se = data[below + right];
      dx[here + x] = (ne - nw + 2 * (e - w) + se - sw) * scale;
      dy[here + x] = (sw - nw + 2 * (s - n) + se - ne) * scale;
      nw = n;
      w = middle;
      sw = s;
      n = ne;
      middle = e;
      s = se;
    }
  }
  return { dx, dy };
}

const FAR = 3.4028234663852886e38;
/** Lengths of a straight, a diagonal and a knight's step, in OpenCV's fixed point. */
const [STRAIGHT, DIAGONAL, KNIGHT] = [1, 1.4, 2.1969].map((value) => Math.round(value * 65536) / 65536);

/**
 * `cv2.distanceTransform(..., DIST_L2, 5)`: the chamfer distance from each pixel to the nearest that is 0, and (if
 * requested) the index of that pixel.
 */
export function distance(mask: Uint8Array, width: number, height: number, nearest?: Int32Array): Float32Array {
  const stride = width + 4, away = new Float64Array(stride * (height + 4)).fill(Infinity);
  const owner = new Int32Array(nearest ? away.length : 0).fill(-1);
  const offsets = Int32Array.of(-2 * stride - 1, -2 * stride + 1, -stride - 2, -stride - 1, -stride, -stride + 1, -stride + 2, -1);
  const lengths = Float64Array.of(KNIGHT, KNIGHT, KNIGHT, DIAGONAL, STRAIGHT, DIAGONAL, KNIGHT, STRAIGHT);
  const reach = (at: number, sign: number): void => {
    let least = away[at], from = -1;
    for (let i = 0; i < 8; i++) {
      const other = at + sign * offsets[i], length = away[other] + lengths[i];
      if (length < least) {
        least = length;
        from = other;
      }
    }
    if (from < 0) return;
    away[at] = least;
    if (nearest) owner[at] = owner[from];
  };
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, at = (y + 2) * stride + 2; x < width; x++, i++, at++) {
      if (mask[i] === 0) {
        away[at] = 0;
        if (nearest) owner[at] = i;
      } else reach(at, 1);
    }
  }
  const result = new Float32Array(width * height);
  for (let y = height - 1, i = width * height - 1; y >= 0; y--) {
    for (let x = width - 1, at = (y + 2) * stride + width + 1; x >= 0; x--, i--, at--) {
      reach(at, -1);
      result[i] = away[at] < Infinity ? away[at] : FAR;
      if (nearest) nearest[i] = owner[at];
    }
  }
  return result;
}
