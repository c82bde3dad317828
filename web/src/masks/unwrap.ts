/** Maps the photo's pixels to the draped sheet; as `maskhub.masks.fit.unwrap`. */

import { FINE_STEP, gridX, gridY, type Sheet } from "./fit";
import { clamp, type Field, field, type Point, rint } from "../vision/image";
import { distance, sobel } from "../vision/filter";
import { fillPolygon } from "../vision/draw";
import { median } from "../vision/numbers";
import { remap } from "../vision/warp";

/** What the photo's pixels show of the sheet, within one rectangle. */
export interface Unwrapped {
  left: number;
  top: number;
  width: number;
  height: number;
  u: Float32Array;
  v: Float32Array;
  normals: Field;
  /** 0 to 1, the share of each pixel that the sheet covers */
  cover: Float32Array;
}

/** Find the sheet's (u, v) at each pixel of the photo; null if none shows it. */
export function unwrap(sheet: Sheet, uRange: Point, vRange: Point, photo: { width: number; height: number }): Unwrapped | null {
  const across = sheet.xyz.width, down = sheet.xyz.height;
  const rows = [Math.max(Math.trunc(gridY(vRange[0])), 0), Math.min(Math.ceil(gridY(vRange[1])) + 1, down)];
  const columns = [Math.max(Math.trunc(gridX(uRange[0])), 0), Math.min(Math.ceil(gridX(uRange[1])) + 1, across)];
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity], facing: number[] = [];
  for (let i = rows[0]; i < rows[1]; i++) {
    for (let j = columns[0]; j < columns[1]; j++) {
      const n = i * across + j;
      for (const k of [0, 1]) {
        low[k] = Math.min(low[k], sheet.xyz.data[3 * n + k]);
        high[k] = Math.max(high[k], sheet.xyz.data[3 * n + k]);
      }
      if (sheet.normals.data[3 * n + 2] < 0.02) facing.push(n);
    }
  }
  if (!facing.length) return null;
  const left = Math.max(Math.floor(low[0]) - 2, 0), top = Math.max(Math.floor(low[1]) - 2, 0);
  const width = Math.min(Math.ceil(high[0]) + 3, photo.width) - left, height = Math.min(Math.ceil(high[1]) + 3, photo.height) - top;
  if (width < 2 || height < 2) return null;
  const local = field(across, down, 2);
  for (let n = 0; n < across * down; n++) {
    local.data[2 * n] = sheet.xyz.data[3 * n] - left;
    local.data[2 * n + 1] = sheet.xyz.data[3 * n + 1] - top;
  }
  const coarse = Math.max(width, height) / 44;
  let grid = startGrid(sheet, local, facing, coarse, Math.ceil(width / coarse), Math.ceil(height / coarse));
  if (!grid) return null;
  const slopes = inverseJacobian(local);
  grid = enlarged(boxBlurred(newton(grid, local, slopes, coarse, 2)), coarse, width, height);
  const [gx, gy] = split(newton(grid, local, slopes, 1, 1));
  const normals = remap(sheet.normals, gx, gy, width, height, "replicate");
  return {
    left, top, width, height, normals, u: gx.map((x) => x * FINE_STEP - 1.1), v: gy.map((y) => y * FINE_STEP - 0.1),
    cover: coverOf(local, rows, columns, width, height),
  };
}

/** For coarse cells of the photo, the grid position of the nearest point of the sheet. */
function startGrid(sheet: Sheet, local: Field, facing: number[], coarse: number, width: number, height: number): Field | null {
  const found = new Int32Array(width * height).fill(-1);
  const nearLast = [...facing].sort((a, b) => sheet.xyz.data[3 * b + 2] - sheet.xyz.data[3 * a + 2]);
  let any = false;
  for (const n of nearLast) {
    const x = Math.trunc(local.data[2 * n] / coarse), y = Math.trunc(local.data[2 * n + 1] / coarse);
    if (x < 0 || y < 0 || x >= width || y >= height) continue;
    found[y * width + x] = n;
    any = true;
  }
  if (!any) return null;
  const nearest = new Int32Array(width * height);
  distance(new Uint8Array(found.length).map((_, i) => Number(found[i] < 0)), width, height, nearest);
  const grid = field(width, height, 2);
  for (let i = 0; i < nearest.length; i++) {
    const n = found[nearest[i]];
    grid.data[2 * i] = n % local.width;
    grid.data[2 * i + 1] = Math.floor(n / local.width);
  }
  return grid;
}

function split(grid: Field): [Float32Array, Float32Array] {
  const size = grid.width * grid.height, x = new Float32Array(size), y = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    x[i] = grid.data[2 * i];
    y[i] = grid.data[2 * i + 1];
  }
  return [x, y];
}

/** Refine grid coordinates until the sheet's points lie on the pixels' centres. */
function newton(grid: Field, local: Field, slopes: Field, spacing: number, steps: number): Field {
  const { width, height } = grid, offset = spacing / 2 - 0.5, out = field(width, height, 2), moved = out.data;
  const gx = new Float32Array(width * height), gy = new Float32Array(width * height), right = local.width - 1, bottom = local.height - 1;
  moved.set(grid.data);
  for (let step = 0; step < steps; step++) {
    for (let i = 0; i < gx.length; i++) {
      gx[i] = rint(moved[2 * i] * 32) / 32;
      gy[i] = rint(moved[2 * i + 1] * 32) / 32;
    }
    const at = remap(local, gx, gy, width, height, "replicate").data, by = remap(slopes, gx, gy, width, height, "replicate").data;
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        const dx = x * spacing + offset - at[2 * i], dy = y * spacing + offset - at[2 * i + 1];
        const moveX = clamp(by[4 * i] * dx + by[4 * i + 1] * dy, -3, 3), moveY = clamp(by[4 * i + 2] * dx + by[4 * i + 3] * dy, -3, 3);
        moved[2 * i] = clamp(gx[i] + moveX, 0, right);
        moved[2 * i + 1] = clamp(gy[i] + moveY, 0, bottom);
      }
    }
  }
  return out;
}

/** Grid steps per pixel step, four channels; limited where the sheet is seen edge-on. */
function inverseJacobian(local: Field): Field {
  const { width, height } = local, size = width * height;
  const [xs, ys] = split(local);
  const x = sobel({ data: xs, width, height, channels: 1 }, 1 / 8), y = sobel({ data: ys, width, height, channels: 1 }, 1 / 8);
  const determinant = xs.map((_, i) => x.dx[i] * y.dy[i] - x.dy[i] * y.dx[i]);
  const floor = 0.05 * median(determinant.map(Math.abs)) + 1e-9, out = field(width, height, 4);
  for (let i = 0; i < size; i++) {
    const scale = determinant[i] / (determinant[i] ** 2 + floor * floor);
    out.data[4 * i] = y.dy[i] * scale;
    out.data[4 * i + 1] = -x.dy[i] * scale;
    out.data[4 * i + 2] = -y.dx[i] * scale;
    out.data[4 * i + 3] = x.dx[i] * scale;
  }
  return out;
}

/** The mean of each value and its neighbours, with the border repeated. */
function boxBlurred(grid: Field): Field {
  const { width, height } = grid, out = field(width, height, 2);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let k = 0; k < 2; k++) {
        let sum = 0;
        for (let j = -1; j <= 1; j++) {
          for (let i = -1; i <= 1; i++) sum += grid.data[2 * (clamp(y + j, 0, height - 1) * width + clamp(x + i, 0, width - 1)) + k];
        }
        out.data[2 * (y * width + x) + k] = sum / 9;
      }
    }
  }
  return out;
}

/** The grid at each pixel. OpenCV samples two channels at whole 1/32 of a cell, from whole 1/1024. */
function enlarged(grid: Field, spacing: number, width: number, height: number): Field {
  const x = new Float32Array(width * height), y = new Float32Array(width * height);
  const start = rint((0.5 / spacing - 0.5) * 1024) + 16;
  const places = (count: number) => Float32Array.from({ length: count }, (_, i) => ((start + rint((i / spacing) * 1024)) >> 5) / 32);
  const columns = places(width), rows = Float32Array.from({ length: height }, (_, i) => {
    return (rint((i / spacing + 0.5 / spacing - 0.5) * 1024) + 16 >> 5) / 32;
  });
  for (let row = 0, i = 0; row < height; row++) {
    for (let column = 0; column < width; column++, i++) {
      x[i] = columns[column];
      y[i] = rows[row];
    }
  }
  return remap(grid, x, y, width, height, "replicate");
}

/** How much of each pixel the sheet's outline covers: its columns drawn as overlapping strips. */
function coverOf(local: Field, rows: number[], columns: number[], width: number, height: number): Float32Array {
  const cover = new Float32Array(width * height), last = columns[1] - 1;
  const column = (j: number): Point[] => {
    const out: Point[] = [];
    for (let i = rows[0]; i < rows[1]; i++) {
      const at = 2 * (i * local.width + j);
      out.push([rint(local.data[at] * 16) / 16, rint(local.data[at + 1] * 16) / 16]);
    }
    return out;
  };
  for (let j = columns[0]; j < last; j += 3) {
    fillPolygon(cover, width, height, [...column(j), ...column(Math.min(j + 4, last)).reverse()], 1);
  }
  return cover;
}
