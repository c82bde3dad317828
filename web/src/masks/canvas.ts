/** Paints a mask's unwrapped sheet pixel by pixel: the current pixel's coordinates and distances, and the painting tools. */

import type { Design } from "./styles";
import { edgeAt, hanning } from "./styles";
import { type Tables, TILE } from "./tables";
import type { Unwrapped } from "./unwrap";
import { toLinear } from "./light";
import { clamp, type Field } from "../vision/image";
import { rank } from "../vision/numbers";

/** Face widths along the sheet for one step of u and of v. */
export const WIDE = 0.78;
const TALL = 0.84;

export const fraction = (x: number): number => x - Math.floor(x);
export const soft = (x: number): number => clamp(x, 0, 1);

/** A value at the current pixel. */
export type Reading = () => number;

export class Canvas {
  // of the current pixel: coordinates, and distances in face widths
  u = 0; v = 0; away = 0; down = 0; x = 0; y = 0;
  belowTop = 0; aboveBottom = 0; fromSide = 0; inside = 0;
  // painted so far: height above the plain sheet in face widths, share of light, linear colour
  relief = 0; dim = 1;
  colour = [0, 0, 0];
  readonly picks: number[];
  private below: Distances;
  private above: Distances;
  private side: Distances;
  private downs: Float32Array;
  private base: number[];

  constructor(readonly design: Design, readonly sheet: Unwrapped, readonly width: number, readonly tables: Tables) {
    this.picks = design.picks;
    this.base = design.base.map((value) => toLinear(value * 255));
    const size = sheet.u.length, below = new Float32Array(size), above = new Float32Array(size), side = new Float32Array(size);
    this.downs = new Float32Array(size);
    for (let i = 0; i < size; i++) {
      const u = sheet.u[i], v = sheet.v[i], top = edgeAt(design.top, u), bottom = edgeAt(design.bottom, u);
      const down = (this.downs[i] = (v - top) / Math.max(bottom - top, 0.05));
      below[i] = v - top;
      above[i] = bottom - v;
      side[i] = design.side + 4 * design.waist * clamp(down * (1 - down), 0, 0.25) - Math.abs(u);
    }
    [this.below, this.above, this.side] = [below, above, side].map((values) => new Distances(values, sheet.width, sheet.height, width));
  }

  /** Go to a pixel, unpainted. */
  move(i: number): void {
    this.u = this.sheet.u[i];
    this.v = this.sheet.v[i];
    this.away = Math.abs(this.u);
    this.down = this.downs[i];
    this.x = this.u * WIDE;
    this.y = this.v * TALL;
    const column = i % this.sheet.width, row = (i - column) / this.sheet.width;
    this.belowTop = this.below.at(column, row);
    this.aboveBottom = this.above.at(column, row);
    this.fromSide = this.side.at(column, row);
    const { corner } = this.design;
    this.inside = rounded(rounded(this.belowTop, this.aboveBottom, corner), this.fromSide, corner);
    this.relief = 0;
    this.dim = 1;
    for (let k = 0; k < 3; k++) this.colour[k] = this.base[k];
  }

  /** The nearest of the four edges. */
  get rimDistance(): number {
    return Math.min(this.belowTop, this.aboveBottom, this.fromSide);
  }

  /** A random field of mean 0 and standard deviation 1, of `scale` texels of its tile to a face width. */
  noise(name: "smooth" | "fibre", scaleX: number, scaleY: number, channel = 0): Reading {
    const seed = this.design.seed >> (channel * 5), tile = this.tables.tiles[name];
    const startX = 0.75 * scaleX + (seed % Math.max(Math.trunc(2 * TILE - 1 - 1.5 * scaleX), 1));
    const startY = 0.1 * scaleY + (Math.floor(seed / 7) % Math.max(Math.trunc(2 * TILE - 1 - 1.3 * scaleY), 1));
    return () => wrapped(tile, this.x * scaleX + startX, this.y * scaleY + startY);
  }

  /** Mix in an sRGB colour. */
  tinter(colour: number[]): (amount: number) => void {
    const linear = colour.map((value) => toLinear(value * 255));
    return (amount) => {
      for (let k = 0; k < 3; k++) this.colour[k] += amount * (linear[k] - this.colour[k]);
    };
  }

  /** 1 within `half` of where a distance (in widths) is 0, with soft edges about one pixel wide. */
  line(distance: number, half: number, blur = Math.max(1 / this.width, 0.35 * half)): number {
    // thinner than a pixel: fainter, not absent
    const strength = Math.min(1, 2 * half * this.width);
    return soft((half + blur / 2 - Math.abs(distance)) / blur) * strength;
  }

  /** A row of stitches: 1 on the dashes of a coordinate in widths. */
  dashes(along: number, length: number, share = 0.6): number {
    if (length * this.width < 4) return share;
    return soft((share - Math.abs(fraction(along / length) - 0.5) * 2) * length * this.width * 0.5 + 0.5);
  }

  /** Press in a line: lower and darker. */
  groove(mask: number, depth: number, dim: number): void {
    this.relief -= mask * depth;
    this.dim *= 1 - mask * dim;
  }

  /** Raise the fabric along the middle, where two halves meet at an angle. */
  ridge(height: number, reach: number): void {
    this.relief += Math.exp(-this.away / reach) * height;
  }

  /** Folds across the sheet at `place` (0 at the top edge, 1 at the bottom). */
  pleater(count: number, variant: number): (place: number, relief: number, dim: number) => void {
    // a pixel's share of the table, so that a lip is never sharper than the photo's pixels
    const window = Math.floor(Math.trunc(clamp((2048 * 1.6) / (0.75 * this.width), 25, 160)) / 8) * 8 + 1;
    const { heights, dims } = pleats(this.tables.lips[`${count}-${variant}`], window);
    return (place, relief, dim) => {
      const index = Math.trunc(clamp(place * (heights.length - 1), 0, heights.length - 1));
      this.relief += heights[index] * relief;
      this.dim *= 1 - dims[index] * dim;
    };
  }

  /** Round off the fabric's edge and darken it. */
  rim(radius: number, dim: number): void {
    const part = soft(this.inside / radius), rise = part * (2 - part);
    this.relief += rise * 0.35 * radius;
    this.dim *= 1 - dim + dim * rise;
  }

  /** Dents, creases towards the straps, and the fibres' unevenness. */
  clothNoise(broad: number, creases: number, fibre: number): () => void {
    const dents = this.noise("smooth", 170, 240), pulled = this.noise("smooth", 130, 640, 1);
    const scale = Math.min(700, Math.max(this.width, 120) * 1.3), speck = this.noise("fibre", scale, scale, 2);
    return () => {
      this.relief += dents() * broad;
      if (creases) this.relief += pulled() * soft((this.away - 0.22) * 2.2) * creases;
      this.dim *= 1 + speck() * 2.2 * fibre;
    };
  }
}

/** Distances in face widths to where a field is 0, from its slope, which is limited where the sheet folds away. */
class Distances {
  private low: number;
  private high: number;

  constructor(private values: Float32Array, private width: number, private height: number, private faceWidth: number) {
    const some: number[] = [];
    for (let y = 0; y < height; y += 4) for (let x = 0; x < width; x += 4) some.push(this.slope(x, y));
    const typical = rank(some, 0.5);
    this.low = 0.3 * typical + 1e-6;
    this.high = 4 * typical + 1e-5;
  }

  at(x: number, y: number): number {
    return this.values[y * this.width + x] / clamp(this.slope(x, y), this.low, this.high) / this.faceWidth;
  }

  /** `cv2.Sobel`'s, mirrored at the border. */
  private slope(x: number, y: number): number {
    const { values, width, height } = this;
    const left = x > 0 ? x - 1 : Math.min(1, width - 1), right = x < width - 1 ? x + 1 : Math.max(width - 2, 0), here = y * width;
    const above = (y > 0 ? y - 1 : Math.min(1, height - 1)) * width, below = (y < height - 1 ? y + 1 : Math.max(height - 2, 0)) * width;
    const nw = values[above + left], ne = values[above + right], sw = values[below + left], se = values[below + right];
    const dx = ne - nw + 2 * (values[here + right] - values[here + left]) + se - sw;
    const dy = sw - nw + 2 * (values[below + x] - values[above + x]) + se - ne;
    return Math.sqrt(dx * dx + dy * dy) / 8;
  }
}

/** The smaller of two distances from inside, with the corner between them rounded. */
function rounded(a: number, b: number, radius: number): number {
  const cutA = Math.max(radius - a, 0), cutB = Math.max(radius - b, 0);
  return Math.max(Math.min(a, b), radius) - Math.sqrt(cutA * cutA + cutB * cutB);
}

function wrapped(tile: Field, x: number, y: number): number {
  const left = Math.floor(x), top = Math.floor(y), fx = x - left, fy = y - top, { data } = tile;
  const x0 = left & (TILE - 1), x1 = (left + 1) & (TILE - 1), y0 = (top & (TILE - 1)) * TILE, y1 = ((top + 1) & (TILE - 1)) * TILE;
  const upper = data[y0 + x0] + fx * (data[y0 + x1] - data[y0 + x0]), lower = data[y1 + x0] + fx * (data[y1 + x1] - data[y1 + x0]);
  return upper + fy * (lower - upper);
}

/** Relief and darkness down a pleated sheet: each fold swells, then drops over its lip into shadow. */
function pleats(offsets: number[], window: number): { heights: Float32Array; dims: Float32Array } {
  const size = 2048, count = offsets.length, relief = new Float64Array(size), dim = new Float64Array(size);
  const lips = offsets.map((offset, i) => (i + 0.72) / (count + 0.35) + offset);
  for (let i = 0; i < size; i++) {
    const s = i / (size - 1);
    let start = 0.08;
    for (const lip of lips) {
      if (s < lip) relief[i] += soft((s - start) / (lip - start)) ** 1.5;
      else dim[i] += Math.exp(-(s - lip) / 0.04);
      dim[i] -= 0.12 * Math.exp(-(((s - lip + 0.02) / 0.012) ** 2));
      start = lip;
    }
    if (s >= start) relief[i] += 0.6 * Math.sin(Math.PI * soft((s - start) / (0.96 - start)));
  }
  const kernel = hanning(window + 2), half = (window + 1) / 2;
  const smoothed = (values: Float64Array): Float32Array => Float32Array.from(values, (_, i) => {
    let sum = 0;
    for (let j = -half; j <= half; j++) sum += kernel[j + half] * values[clamp(i + j, 0, size - 1)];
    return sum;
  });
  return { heights: smoothed(relief), dims: smoothed(dim) };
}
