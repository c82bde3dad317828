/** Filled polygons with soft edges. */

import type { Point } from "./image";

/** The soft edge of OpenCV's anti-aliased polygons, measured: its middle and width in pixels beyond the outline. */
const EDGE = 0.8, SOFT = 1.5;
const REACH = EDGE + SOFT / 2;

/** Raise `cover` (0 to 1, row by row) to `value` inside a polygon, with a soft outline. */
export function fillPolygon(cover: Float32Array, width: number, height: number, points: Point[], value: number): void {
  fillInside(cover, width, height, points, value);
  for (let i = 0; i < points.length; i++) {
    softenEdge(cover, width, height, points[i], points[(i + 1) % points.length], value);
  }
}

function fillInside(cover: Float32Array, width: number, height: number, points: Point[], value: number): void {
  const count = points.length, xs = Float64Array.from(points, (point) => point[0]), ys = Float64Array.from(points, (point) => point[1]);
  const first = Math.max(0, Math.ceil(Math.min(...ys))), last = Math.min(height - 1, Math.floor(Math.max(...ys)));
  for (let y = first; y <= last; y++) {
    const crossings: number[] = [];
    for (let i = 0, j = count - 1; i < count; j = i++) {
      // from one corner to the next
      const ay = ys[j], by = ys[i];
      if (ay <= y !== by <= y) crossings.push(xs[j] + ((y - ay) / (by - ay)) * (xs[i] - xs[j]));
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const end = Math.min(width - 1, Math.floor(crossings[i + 1]));
      for (let x = Math.max(0, Math.ceil(crossings[i])); x <= end; x++) {
        const at = y * width + x;
        if (cover[at] < value) cover[at] = value;
      }
    }
  }
}

function softenEdge(cover: Float32Array, width: number, height: number, a: Point, b: Point, value: number): void {
  const [ax, ay] = a, dx = b[0] - ax, dy = b[1] - ay, square = dx * dx + dy * dy;
  const y0 = Math.max(0, Math.ceil(Math.min(a[1], b[1]) - REACH)), y1 = Math.min(height - 1, Math.floor(Math.max(a[1], b[1]) + REACH));
  const x0 = Math.max(0, Math.ceil(Math.min(a[0], b[0]) - REACH)), x1 = Math.min(width - 1, Math.floor(Math.max(a[0], b[0]) + REACH));
  for (let y = y0; y <= y1; y++) {
    for (let x = x0, at = y * width + x0; x <= x1; x++, at++) {
      if (cover[at] >= value) continue;
      const along = square > 0 ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / square)) : 0;
      const px = x - ax - along * dx, py = y - ay - along * dy, away = Math.sqrt(px * px + py * py);
      if (away >= REACH) continue;
      const t = Math.min(1, Math.max(0, (away - EDGE) / SOFT + 0.5)), shown = value * (1 - t * t * (3 - 2 * t));
      if (cover[at] < shown) cover[at] = shown;
    }
  }
}
