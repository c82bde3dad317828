/** The straps: ribbons from the mask's corners to the ears, hidden where the head turns away; as in `maskhub.masks.straps`. */

import { type Head, type Sheet, sheetAt, toPhoto } from "./fit";
import { LUMA } from "./light";
import { type Design, edgeAt } from "./styles";
import type { Tables } from "./tables";
import { clamp, cut, field, type Field, type Picture, type Point, rint } from "../vision/image";
import { fillPolygon } from "../vision/draw";
import { resizeLinear, shrink } from "../vision/filter";

const EAR = [[0.515, -0.08, 0.05], [0.5, 0.15, 0.06]];
const BAND = [[0.54, -0.22, 0.3], [0.5, 0.3, 0.3]];
const STEPS = 14;

/** The straps' cover (0 to 1) on a rectangle of the photo, and the mean normal of their visible part; null if nothing is visible. */
export function drawStraps(
  design: Design, head: Head, sheet: Sheet, bare: Field, left: number, top: number, tables: Tables,
): { cover: Float32Array; normal: number[] } | null {
  const { width, height } = bare, cover = new Float32Array(width * height), hidden = new Float32Array(width * height);
  const ribbon = tables.strapWidths[design.style] * (0.9 + 0.3 * design.picks[7]) * head.width;
  const sum = [0, 0, 0];
  for (const { line: whole, normals } of strapPaths(design, head, sheet)) {
    // only the first stretch: what reappears behind the head is not drawn
    const gone = normals.findIndex((normal) => !(normal[2] < -0.13));
    let count = gone < 0 ? normals.length : gone;
    if (count < 2) continue;
    let line = whole.slice(0, count).map(([x, y]): Point => [x - left, y - top]);
    // hair over the ear: the strap runs under anything that doesn't look like skin, and soon ends
    const along = line.map(([x, y]) => bare.data[clamp(rint(y), 0, height - 1) * width + clamp(rint(x), 0, width - 1)]);
    const last = along.slice(-4);
    let target = cover;
    if (last.reduce((a, b) => a + b, 0) / last.length < 0.5) {
      target = hidden;
      const covered = along.findIndex((value, i) => value < 0.4 && along[i + 1] < 0.4);
      if (covered >= 0) count = Math.min(count, covered + 2);
      if (count < 3) continue;
      line = line.slice(0, count);
    }
    drawRibbon(target, width, height, line, ribbon);
    for (const normal of normals.slice(0, count)) for (let k = 0; k < 3; k++) sum[k] += normal[k];
  }
  if (!sum.some(Boolean)) return null;
  for (let i = 0; i < cover.length; i++) cover[i] = Math.max(cover[i], hidden[i] * bare.data[i]);
  const length = Math.max(Math.hypot(...sum), 1e-6);
  return { cover, normal: sum.map((value) => value / length) };
}

/** How much each pixel looks like the face's skin, 0 to 1. */
export function skinLike(part: Picture, skin: number[]): Field {
  const { width, height } = part, factor = Math.min(Math.max(2, rint(Math.max(height, width) / 128)), width, height);
  const columns = Math.floor(width / factor), rows = Math.floor(height / factor);
  const small = shrink(cut(part, 0, 0, columns * factor, rows * factor), columns, rows);
  const like = field(small.width, small.height);
  for (let i = 0; i < like.data.length; i++) {
    const r = small.data[3 * i] - skin[0], g = small.data[3 * i + 1] - skin[1], b = small.data[3 * i + 2] - skin[2];
    const luma = r * LUMA[0] + g * LUMA[1] + b * LUMA[2];
    const chroma = (r - luma) ** 2 + (g - luma) ** 2 + (b - luma) ** 2;
    like.data[i] = clamp(1.6 - 0.6 * ((luma / 70) ** 2 + chroma / 24 ** 2), 0, 1);
  }
  return resizeLinear(like, width, height);
}

/** The straps' middle lines in the photo, and the outward normals of the cheek below them. */
function strapPaths(design: Design, head: Head, sheet: Sheet): { line: Point[]; normals: number[][] }[] {
  const band = design.style === "cup", r = head.rotation;
  const inset = band ? 0.22 : design.style === "neoprene" ? 0.16 : 0.05;
  return [[-1, 0], [-1, 1], [1, 0], [1, 1]].map(([sign, lower]) => {
    const u = sign * (design.side - 0.025), low = edgeAt(design.top, u), high = edgeAt(design.bottom, u);
    const start = sheetAt(sheet.headPoints, u, low + (lower ? 1 - inset : inset) * (high - low));
    const [ex, ey, ez] = (band ? BAND : EAR)[lower], ear = 3 * (sign < 0 ? 234 : 454);
    const end = [sign * ex + 0.6 * (head.points[ear] - sign * 0.5), ey + 0.6 * head.points[ear + 1], ez + 0.6 * head.points[ear + 2]];
    const line: Point[] = [], normals: number[][] = [];
    for (let i = 0; i < STEPS; i++) {
      const t = i / (STEPS - 1), arch = Math.sin(Math.PI * t);
      const at = [0, 1, 2].map((k) => start[k] + (end[k] - start[k]) * t);
      // follow the rounded cheek instead of cutting through it, and sag a little
      const [x, y] = toPhoto(head, at[0] + 0.012 * sign * arch, at[1] + (lower ? 0.012 : 0.006) * arch, at[2]);
      line.push([x, y]);
      const z = -0.55 + 0.35 * t;
      normals.push([0, 1, 2].map((k) => sign * r[3 * k] + z * r[3 * k + 2]));
    }
    return { line, normals };
  });
}

/** Fill a ribbon of a width in pixels along a line; one thinner than a pixel is drawn fainter. */
function drawRibbon(cover: Float32Array, width: number, height: number, line: Point[], ribbon: number): void {
  const half = Math.max(ribbon, 1) / 2, last = line.length - 1;
  const sides = line.map(([x, y], i) => {
    const before = line[Math.max(i - 1, 0)], after = line[Math.min(i + 1, last)];
    const dx = after[0] - before[0], dy = after[1] - before[1], length = Math.hypot(dx, dy) + 1e-9;
    const [ax, ay] = [(-dy / length) * half, (dx / length) * half];
    return [[x + ax, y + ay], [x - ax, y - ay]] as [Point, Point];
  });
  const outline = [...sides.map((side) => side[0]), ...sides.map((side) => side[1]).reverse()];
  fillPolygon(cover, width, height, outline.map(([x, y]): Point => [rint(x * 16) / 16, rint(y * 16) / 16]), Math.min(1, ribbon));
}
