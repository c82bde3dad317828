/** YuNet in reduced and mirrored copies of a picture, as in `maskhub.faces.copies`. */

import type { Networks } from "../networks";
import { shrink } from "../vision/filter";
import { type Picture, picture, rint } from "../vision/image";
import { findRows, type Row } from "./yunet";

/** The points of a mirrored face in their usual order. */
const MIRRORED = [1, 0, 2, 4, 3];

/**
 * The rows of a picture whose longer side is reduced to `side`, those in the picture as it is and those in its mirror image,
 * in the picture's pixels; `margin` is added around it, as a share of each side.
 */
export async function detections(
  networks: Networks, photo: Picture, side: number, threshold: number, margin = 0,
): Promise<Row[][]> {
  const scale = Math.min(side / Math.max(photo.width, photo.height), 1);
  const [width, height] = [photo.width, photo.height].map((size) => Math.max(rint(size * scale), 1));
  const scaled = scale < 1 ? shrink(photo, width, height) : photo;
  const pad = [rint(width * margin), rint(height * margin)], grown = [photo.width / width, photo.height / height];
  const out: Row[][] = [];
  for (const mirrored of [false, true]) {
    const rows = await findRows(networks, mirrored ? flipped(scaled) : scaled, threshold, pad[0], pad[1]);
    out.push(rows.map((found) => {
      const row = found.slice();
      for (let i = 0; i < 14; i++) if (i !== 2 && i !== 3) row[i] -= pad[i % 2];
      if (mirrored) {
        const points = row.slice(4, 14);
        MIRRORED.forEach((from, to) => row.set([width - 1 - points[2 * from], points[2 * from + 1]], 4 + 2 * to));
        row[0] = width - 1 - row[0] - row[2];
      }
      return row.map((value, i) => (i === 14 ? value : i === 2 || i === 3 ? value * grown[i % 2] : (value + 0.5) * grown[i % 2] - 0.5));
    }));
  }
  return out;
}

/** A picture mirrored left to right. */
function flipped({ data, width, height, channels }: Picture): Picture {
  const out = picture(width, height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = width - 1; x >= 0; x--) for (let k = 0; k < 3; k++) out.data[to++] = data[(y * width + x) * channels + k];
  }
  return out;
}
