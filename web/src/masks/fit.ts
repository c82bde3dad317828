/** The shape of a mask: a sheet of fabric draped over the landmarks; as in `maskhub.masks.fit`. */

import { type Design, bulgeAt } from "./styles";
import type { Tables } from "./tables";
import type { Landmarks } from "../faces/landmarks";
import { type Field, field, type Point } from "../vision/image";
import { solve } from "../vision/numbers";
import { remap } from "../vision/warp";

const AXIS_Z = 0.1, U_DEGREES = 80, TOP_Y = -0.1, GAP = 0.012;
const JAW = [234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152];
const COLUMNS = 23, ROWS = 16, NET_ROWS = 12;
const U = Array.from({ length: COLUMNS }, (_, i) => -1.1 + 0.1 * i);
const V = [...Array.from({ length: NET_ROWS }, (_, i) => -0.1 + 0.1 * i), 1.1, 1.2, 1.3, 1.4];
const FINE = 3;
export const FINE_STEP = 0.1 / FINE;
export const gridX = (u: number): number => (u + 1.1) / FINE_STEP;
export const gridY = (v: number): number => (v + 0.1) / FINE_STEP;
const radians = (degrees: number): number => (degrees * Math.PI) / 180;

export interface Head {
  /** the point between the ears in the photo's pixels */
  origin: number[];
  /** from ear to ear in pixels */
  width: number;
  rotation: Float64Array;
  /** 468 × 3, the landmarks on the head's axes, in widths */
  points: Float64Array;
}

export function headOf({ points, rotation: r }: Landmarks): Head {
  const right = points.subarray(3 * 234, 3 * 234 + 3), left = points.subarray(3 * 454, 3 * 454 + 3);
  const origin = [0, 1, 2].map((k) => (right[k] + left[k]) / 2);
  const width = Math.max(Math.hypot(left[0] - right[0], left[1] - right[1], left[2] - right[2]), 1e-3);
  const own = new Float64Array(3 * 468);
  for (let i = 0; i < own.length; i += 3) {
    const d = [0, 1, 2].map((k) => points[i + k] - origin[k]);
    for (let k = 0; k < 3; k++) own[i + k] = (d[0] * r[k] + d[1] * r[3 + k] + d[2] * r[6 + k]) / width;
  }
  return { origin, width, rotation: r, points: own };
}

/** A point on the head's axes in the photo's pixels. */
export function toPhoto(head: Head, x: number, y: number, z: number): [number, number, number] {
  const { origin, width: w, rotation: r } = head;
  return [0, 1, 2].map((k) => w * (r[3 * k] * x + r[3 * k + 1] * y + r[3 * k + 2] * z) + origin[k]) as [number, number, number];
}

/** The draped fabric on a fine grid of (v, u); three channels each. */
export interface Sheet {
  /** in the photo's pixels */
  xyz: Field;
  /** outward, of length 1; z is negative towards the camera */
  normals: Field;
  /** on the head's axes */
  headPoints: Field;
}

/** A grid of the sheet at one (u, v). */
export function sheetAt(grid: Field, u: number, v: number): Float32Array {
  return remap(grid, Float32Array.of(gridX(u)), Float32Array.of(gridY(v)), 1, 1, "replicate").data;
}

/** Drapes a design's sheet over heads. */
export class Draper {
  private weights: Float64Array[];
  private use: number[];
  private rows = fineBasis(ROWS);
  private columns = fineBasis(COLUMNS);

  constructor(tables: Tables) {
    [this.weights, this.use] = netWeights(tables.meanFace);
  }

  drape(head: Head, design: Design): Sheet {
    const net = this.net(head), out = U.map((u) => [Math.sin(radians(u * U_DEGREES)), -Math.cos(radians(u * U_DEGREES))]);
    const along = (i: number, j: number) => {
      const at = 3 * (i * COLUMNS + j);
      return net[at] * out[j][0] + (net[at + 2] - AXIS_Z) * out[j][1];
    };
    const skin = new Float64Array(ROWS * COLUMNS), plain = new Float64Array(ROWS * COLUMNS);
    for (let i = 0; i < ROWS; i++) {
      for (let j = 0; j < COLUMNS; j++) {
        plain[i * COLUMNS + j] = along(i, j);
        skin[i * COLUMNS + j] = along(i, j) + GAP;
      }
    }
    const reach = skin.slice();
    const push = () => {
      for (let n = 0; n < reach.length; n++) {
        const by = reach[n] - plain[n], [x, z] = out[n % COLUMNS];
        net[3 * n] += by * x;
        net[3 * n + 2] += by * z;
      }
      plain.set(reach);
    };
    for (let step = 0; step < design.tension; step++) {
      push();
      // far neighbours first: they carry the tension across in few steps
      const far = step < Math.floor(design.tension / 2) ? 2 : 1;
      for (let i = 2; i < 12; i++) {
        for (let j = 2; j < COLUMNS - 2; j++) {
          const pulled = mean(net, i, j, far, out[j]);
          reach[i * COLUMNS + j] = Math.max(skin[i * COLUMNS + j], pulled);
        }
      }
    }
    for (let i = 0; i < ROWS; i++) for (let j = 0; j < COLUMNS; j++) reach[i * COLUMNS + j] += bulgeAt(design, U[j], V[i]);
    push();
    return this.sheet(head, net);
  }

  /** The control net on the skin, ROWS × COLUMNS × 3. */
  private net(head: Head): Float64Array {
    const net = new Float64Array(ROWS * COLUMNS * 3);
    for (let n = 0; n < NET_ROWS * COLUMNS; n++) {
      const weights = this.weights[n], points = head.points;
      let x = 0, y = 0, z = 0;
      for (let i = 0; i < weights.length; i++) {
        const from = 3 * this.use[i], weight = weights[i];
        x += weight * points[from];
        y += weight * points[from + 1];
        z += weight * points[from + 2];
      }
      net[3 * n] = x;
      net[3 * n + 1] = y;
      net[3 * n + 2] = z;
    }
    // under the chin there are no landmarks: the fabric turns back towards the neck
    for (let i = NET_ROWS; i < ROWS; i++) {
      for (let j = 0; j < COLUMNS; j++) {
        const from = 3 * ((NET_ROWS - 1) * COLUMNS + j), to = 3 * (i * COLUMNS + j), steps = i - NET_ROWS + 1;
        const step = [-0.03 * Math.sin(radians(U[j] * U_DEGREES)), 0.03, 0.075];
        for (let k = 0; k < 3; k++) net[to + k] = net[from + k] + steps * step[k];
      }
    }
    return net;
  }

  private sheet(head: Head, net: Float64Array): Sheet {
    const r = head.rotation, height = this.rows.length, width = this.columns.length, headPoints = field(width, height, 3), xyz = field(width, height, 3);
    const partly = new Float64Array(height * COLUMNS * 3);
    for (let y = 0; y < height; y++) {
      for (let i = 0; i < ROWS; i++) {
        const weight = this.rows[y][i];
        if (weight) for (let n = 0; n < COLUMNS * 3; n++) partly[y * COLUMNS * 3 + n] += weight * net[i * COLUMNS * 3 + n];
      }
    }
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = 3 * (y * width + x), weights = this.columns[x];
        let px = 0, py = 0, pz = 0;
        for (let j = 0, from = 3 * y * COLUMNS; j < COLUMNS; j++, from += 3) {
          const weight = weights[j];
          if (!weight) continue;
          px += weight * partly[from];
          py += weight * partly[from + 1];
          pz += weight * partly[from + 2];
        }
        headPoints.data[at] = px;
        headPoints.data[at + 1] = py;
        headPoints.data[at + 2] = pz;
        for (let k = 0; k < 3; k++) xyz.data[at + k] = head.width * (r[3 * k] * px + r[3 * k + 1] * py + r[3 * k + 2] * pz) + head.origin[k];
      }
    }
    return { xyz, normals: normalsOf(xyz), headPoints };
  }
}

/** The mean of four neighbours along the outward direction. */
function mean(net: Float64Array, i: number, j: number, far: number, [x, z]: number[]): number {
  let sumX = 0, sumZ = 0;
  for (const n of [(i - far) * COLUMNS + j, (i + far) * COLUMNS + j, i * COLUMNS + j - far, i * COLUMNS + j + far]) {
    sumX += net[3 * n];
    sumZ += net[3 * n + 2];
  }
  return sumX * 0.25 * x + (sumZ * 0.25 - AXIS_Z) * z;
}

/** Cross products of the grid's central differences; 0 on its border, where they are mirrored. */
function normalsOf(xyz: Field): Field {
  const { data, width, height } = xyz, out = field(width, height, 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = 3 * (y * width + x);
      const left = x > 0 && x < width - 1 ? at - 3 : at, right = x > 0 && x < width - 1 ? at + 3 : at;
      const above = y > 0 && y < height - 1 ? at - 3 * width : at, below = y > 0 && y < height - 1 ? at + 3 * width : at;
      const ax = data[below] - data[above], ay = data[below + 1] - data[above + 1], az = data[below + 2] - data[above + 2];
      const bx = data[right] - data[left], by = data[right + 1] - data[left + 1], bz = data[right + 2] - data[left + 2];
      const nx = ay * bz - az * by, ny = az * bx - ax * bz, nz = ax * by - ay * bx;
      const length = Math.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9;
      out.data[at] = nx / length;
      out.data[at + 1] = ny / length;
      out.data[at + 2] = nz / length;
    }
  }
  return out;
}

/** The control net as a smoothing thin-plate spline of the landmarks, set up on the mean face; and the landmarks that it uses. */
function netWeights(mean: number[]): [Float64Array[], number[]] {
  const theta = (i: number): number => (Math.atan2(mean[3 * i], AXIS_Z - mean[3 * i + 2]) * 180) / Math.PI;
  const jaw = JAW.map((i): Point => [-Math.abs(theta(i)), mean[3 * i + 1]]).sort((a, b) => a[0] - b[0]);
  const sites: Point[] = [], use: number[] = [];
  for (let i = 0; i < 468; i++) {
    const u = theta(i) / U_DEGREES, y = mean[3 * i + 1];
    const v = (y - TOP_Y) / Math.max(interpolated(-Math.abs(theta(i)), jaw) - TOP_Y, 0.15);
    if (v > -0.5 && v < 1.08 && Math.abs(u) < 1.15) {
      sites.push([u * 1.2, v]);
      use.push(i);
    }
  }
  const wanted = V.slice(0, NET_ROWS).flatMap((v) => U.map((u): Point => [u * 1.2, v]));
  const spline = ([ax, ay]: Point, [bx, by]: Point): number => {
    const square = (ax - bx) ** 2 + (ay - by) ** 2;
    return 0.5 * square * Math.log(square + 1e-12);
  };
  const n = sites.length;
  const system = Array.from({ length: n + 3 }, () => new Float64Array(n + 3));
  sites.forEach((site, i) => {
    sites.forEach((other, j) => (system[i][j] = spline(site, other) + (i === j ? 2e-3 : 0)));
    [1, ...site].forEach((value, k) => (system[i][n + k] = system[n + k][i] = value));
  });
  // the system is symmetric: solving it for the net's rows gives the weights at once
  const right = Array.from({ length: n + 3 }, (_, i) => {
    return Float64Array.from(wanted, (place) => (i < n ? spline(place, sites[i]) : [1, ...place][i - n]));
  });
  const solved = solve(system, right);
  return [wanted.map((_, k) => Float64Array.from(use, (_, i) => solved[i][k])), use];
}

/** `numpy.interp` through points of rising x. */
function interpolated(x: number, points: Point[]): number {
  if (x <= points[0][0]) return points[0][1];
  const next = points.findIndex((point) => point[0] > x);
  if (next < 0) return points[points.length - 1][1];
  const [ax, ay] = points[next - 1], [bx, by] = points[next];
  return ay + ((x - ax) / (bx - ax)) * (by - ay);
}

/** Uniform cubic B-splines of `count` nodes, mirrored at the ends, at FINE steps per node. */
function fineBasis(count: number): Float64Array[] {
  return Array.from({ length: (count - 1) * FINE + 1 }, (_, row) => {
    const place = row / FINE, i = Math.min(Math.floor(place), count - 2), f = place - i;
    const basis = new Float64Array(count + 2);
    [(1 - f) ** 3, 3 * f ** 3 - 6 * f ** 2 + 4, -3 * f ** 3 + 3 * f ** 2 + 3 * f + 1, f ** 3].forEach((value, k) => (basis[i + k] = value / 6));
    const full = basis.slice(1, -1);
    full[0] += 2 * basis[0];
    full[1] -= basis[0];
    full[count - 1] += 2 * basis[count + 1];
    full[count - 2] -= basis[count + 1];
    return full;
  });
}
