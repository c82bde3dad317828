/** YuNet's detections in a picture, as in `maskhub.faces.yunet`. */

import type { Networks, Outputs } from "../networks";
import { clamp, type Picture } from "../vision/image";

export const STRIDES = [8, 16, 32];
const OVERLAP = 0.3;
const TOP = 500;

/** One detection of YuNet: left, top, width, height, 5 × (x, y), score. */
export type Row = Float32Array;

/** The detections in an image with a margin that repeats its border. */
export async function findRows(networks: Networks, image: Picture, threshold: number, padX: number, padY: number): Promise<Row[]> {
  const { data, channels } = image, wide = image.width + 2 * padX, high = image.height + 2 * padY;
  const width = Math.ceil(wide / 32) * 32, height = Math.ceil(high / 32) * 32;
  const stride = 3 * (width + 2), blob = new Float32Array(stride * (height + 2)); // with a border of one pixel
  const columns = Int32Array.from({ length: wide }, (_, x) => clamp(x - padX, 0, image.width - 1) * channels);
  for (let y = 0; y < high; y++) {
    const row = clamp(y - padY, 0, image.height - 1) * image.width * channels;
    for (let x = 0, to = (y + 1) * stride + 3; x < wide; x++, to += 3) {
      const from = row + columns[x];
      blob[to] = data[from + 2]; // blue first, as OpenCV
      blob[to + 1] = data[from + 1];
      blob[to + 2] = data[from];
    }
  }
  const out = await networks.run("yunet", { data: blob, dims: [1, height + 2, width + 2, 3] });
  const rows = STRIDES.flatMap((stride) => rowsOf(out, stride, width, threshold));
  return rows.length > 1 ? suppressed(rows, threshold) : rows;
}

function rowsOf(out: Outputs, stride: number, width: number, threshold: number): Row[] {
  const sure = out[`cls_${stride}`], there = out[`obj_${stride}`];
  const boxes = out[`bbox_${stride}`], points = out[`kps_${stride}`];
  const columns = Math.floor(width / stride), rows: Row[] = [];
  for (let i = 0; i < sure.length; i++) {
    const score = Math.fround(Math.sqrt(Math.fround(clamp(sure[i], 0, 1) * clamp(there[i], 0, 1))));
    if (score < Math.fround(threshold)) continue;
    const x = i % columns, y = Math.floor(i / columns), row = new Float32Array(15);
    row[2] = Math.exp(boxes[4 * i + 2]) * stride;
    row[3] = Math.exp(boxes[4 * i + 3]) * stride;
    row[0] = (x + boxes[4 * i]) * stride - row[2] / 2;
    row[1] = (y + boxes[4 * i + 1]) * stride - row[3] / 2;
    for (let k = 0; k < 5; k++) {
      row[4 + 2 * k] = (points[10 * i + 2 * k] + x) * stride;
      row[5 + 2 * k] = (points[10 * i + 2 * k + 1] + y) * stride;
    }
    row[14] = score;
    rows.push(row);
  }
  return rows;
}

/** Non-maximum suppression on integer boxes, as `cv2.dnn.NMSBoxes`; most confident first. */
function suppressed(rows: Row[], threshold: number): Row[] {
  const sorted = rows.filter((row) => row[14] > Math.fround(threshold)).sort((a, b) => b[14] - a[14]).slice(0, TOP);
  const kept: Row[] = [];
  for (const row of sorted) if (kept.every((other) => overlap(row, other) <= OVERLAP)) kept.push(row);
  return kept;
}

function overlap(one: Row, other: Row): number {
  const [ax, ay, aw, ah] = [0, 1, 2, 3].map((i) => Math.trunc(one[i]));
  const [bx, by, bw, bh] = [0, 1, 2, 3].map((i) => Math.trunc(other[i]));
  const across = Math.max(0, Math.min(ax + aw, bx + bw) - Math.max(ax, bx));
  const down = Math.max(0, Math.min(ay + ah, by + bh) - Math.max(ay, by));
  const both = aw * ah + bw * bh;
  return both > 0 ? (across * down) / (both - across * down) : 1;
}
