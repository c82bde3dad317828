/** The rule's tables, written by `export.py`: noise tiles, styles, the mean face, and each seed's random numbers. */

import type { ReadFile } from "../networks";
import { type Field, field } from "../vision/image";

export const TILE = 512;
const THINNED = 4, CODES = 24;

export interface Numbers {
  colours: Record<string, Record<string, [number, number, number]>>;
  patterns: string[];
  accents: [number, number, number][];
  knots: number[];
  tops: Record<string, number[]>;
  bottoms: Record<string, number[]>;
  sides: Record<string, number>;
  strapWidths: Record<string, number>;
  /** 468 × 3 */
  meanFace: number[];
  normals: number[];
  /** landmarks on skin without hair */
  bare: number[];
  /** "count-variant" → the folds' offsets */
  lips: Record<string, number[]>;
  /** for each seed: 8 picks, 4 sizes, height, pattern, and the grain's place */
  draws: number[][];
}

export interface Tables extends Numbers {
  tiles: { smooth: Field; fibre: Field };
  grain: Field;
}

export async function loadTables(read: ReadFile): Promise<Tables> {
  const [bytes, text] = await Promise.all([read("models/rule.bin"), read("models/rule.json")]);
  const numbers = JSON.parse(new TextDecoder().decode(text)) as Numbers;
  const side = TILE / THINNED, size = TILE * TILE;
  const buffer = bytes.slice().buffer;
  const thin = new Float32Array(buffer, 0, side * side);
  const codes = new Int8Array(buffer, 4 * side * side);
  const tile = (from: number): Field => {
    const out = field(TILE, TILE);
    for (let i = 0; i < size; i++) out.data[i] = codes[from + i] / CODES;
    return out;
  };
  return { ...numbers, tiles: { smooth: periodic(thin, side), fibre: tile(0) }, grain: tile(size) };
}

/** The band-limited periodic tile that has these samples at every fourth pixel, by its Dirichlet kernel. */
function periodic(thin: Float32Array, side: number): Field {
  const kernel = new Float64Array(TILE * side);
  for (let x = 0; x < TILE; x++) {
    for (let k = 0; k < side; k++) {
      const away = (((x / THINNED - k) % side) + side) % side;
      const angle = (Math.PI * away) / side;
      kernel[x * side + k] = away === 0 ? 1 : Math.sin(Math.PI * away) / (side * Math.tan(angle));
    }
  }
  const rows = new Float64Array(side * TILE), out = field(TILE, TILE);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < TILE; x++) {
      let sum = 0;
      for (let k = 0; k < side; k++) sum += kernel[x * side + k] * thin[y * side + k];
      rows[y * TILE + x] = sum;
    }
  }
  const line = new Float64Array(TILE);
  for (let y = 0; y < TILE; y++) {
    line.fill(0);
    for (let k = 0; k < side; k++) {
      const weight = kernel[y * side + k];
      for (let x = 0; x < TILE; x++) line[x] += weight * rows[k * TILE + x];
    }
    out.data.set(line, y * TILE);
  }
  return out;
}
