/** One random mask of a style, as `maskhub.masks.styles.design` draws it. */

import type { Tables } from "./tables";
import { clamp } from "../vision/image";

export type Colour = [number, number, number];

export interface Design {
  style: string;
  colour: string;
  /** sRGB in [0, 1] */
  base: Colour;
  accent: Colour;
  strap: Colour;
  /** the edges' v as a function of |u| */
  top: Float32Array;
  bottom: Float32Array;
  side: number;
  waist: number;
  corner: number;
  tension: number;
  /** seed of the fabric's noise */
  seed: number;
  picks: number[];
  pattern: string;
  pleats: number;
  bulge: number;
  loose: number;
  /** how much further the mask stands out in front of a nose in an uncertain place, in face widths */
  room: number;
  rings: number;
  valve: boolean;
  printed: boolean;
  seam: boolean;
  stitched: boolean;
}

const LUT_SIZE = 1024, LUT_REACH = 1.25;
const ROOM = 0.05, ROOM_ABOVE = 0.04;
const CUP_STRAPS: Colour[] = [[236, 206, 70], [232, 230, 224], [70, 120, 190]];

const all = (value: number): Colour => [value, value, value];
const scaled = (colour: number[], factor: number): Colour => colour.map((value) => value * factor) as Colour;
const mean = (colour: Colour): number => (colour[0] + colour[1] + colour[2]) / 3;

/** Draw a mask; `colour` is one of the style's, or null for a random one. */
export function drawDesign(tables: Tables, draws: number[], style: string, colour: string | null): Design {
  const picks = draws.slice(0, 8), size = draws.slice(8, 12), [height, seed] = draws.slice(12, 14);
  const styles = Object.keys(tables.colours);
  if (style === "random") style = ["surgical", "surgical", ...styles][Math.floor(picks[0] * (styles.length + 2))];
  const colours = tables.colours[style];
  if (!colour || !(colour in colours)) {
    const names = [Object.keys(colours)[0], ...Object.keys(colours)];
    colour = names[Math.floor(picks[2] * names.length)];
  }
  const base = scaled(colours[colour], 1 / 255).map((value) => clamp(value * (1 + 0.05 * size[3]), 0.02, 0.97)) as Colour;
  let accent = scaled(tables.accents[Math.floor(picks[4] * tables.accents.length)], 1 / 255);
  if (accent.reduce((sum, value, k) => sum + Math.abs(value - base[k]), 0) < 0.45) {
    accent = base.map((value) => (mean(base) > 0.5 ? value * 0.35 : 1 - (1 - value) * 0.25)) as Colour;
  }
  const side = tables.sides[style] * (1 + 0.025 * size[0]);
  const top = smooth(tables.knots, tables.tops[style].map((v) => v + 0.05 * (height - 0.4)));
  const bottom = smooth(tables.knots, tables.bottoms[style].map((v) => v + 0.015 * size[1] + 0.012 * size[0]));
  const pattern = tables.patterns[Math.floor(picks[3] * tables.patterns.length)];
  return {
    style, colour, base, accent, strap: base, top, bottom, side, waist: 0, corner: 0.02, tension: 8, seed, picks, pattern,
    pleats: 0, bulge: 0, loose: 0, room: 0, rings: 0, valve: false, printed: false, seam: false, stitched: false,
    ...ofStyle(style, base, picks),
  };
}

function ofStyle(style: string, base: Colour, picks: number[]): Partial<Design> {
  const pale = mean(base) > 0.25 ? all(0.9) : base;
  if (style === "surgical") {
    return { strap: pale, pleats: picks[5] < 0.75 ? 3 : 4, bulge: 0.012 + 0.012 * picks[6], loose: 0.045, corner: 0.012 };
  }
  if (style === "kn95") {
    const details = { printed: picks[5] < 0.5, valve: picks[5] > 0.85 };
    return { strap: pale, bulge: 0.065 + 0.02 * picks[6], loose: 0.02, ...details, waist: -0.03, corner: 0.03, tension: 12 };
  }
  if (style === "cup") {
    const strap = scaled(CUP_STRAPS[Math.floor(picks[4] * 3)], 1 / 255);
    const details = { rings: Math.floor(1 + picks[5] * 3), valve: picks[7] < 0.5 };
    return { strap, bulge: 0.075 + 0.03 * picks[6], ...details, corner: 0.13, tension: 12 };
  }
  if (style === "cloth" || style === "patterned") {
    const strap = picks[5] < 0.5 ? base : all(picks[5] < 0.7 ? 0.88 : 0.1), seam = picks[6] < 0.55;
    const details = { seam, bulge: 0.01 + 0.025 * Number(seam), loose: 0.03, pleats: picks[6] < 0.8 ? 0 : 2 };
    return { strap, ...details, corner: 0.03, tension: 10, waist: 0.02 * picks[7] };
  }
  return { seam: true, bulge: 0.03, loose: 0.012, stitched: picks[5] < 0.5, waist: -0.07, corner: 0.05, tension: 10 };
}

/** The v of an edge at u. */
export function edgeAt(table: Float32Array, u: number): number {
  const index = Math.min(Math.abs(u) * (LUT_SIZE / LUT_REACH), LUT_SIZE - 2), low = Math.floor(index);
  return table[low] * (1 - (index - low)) + table[low + 1] * (index - low);
}

/** How far the fabric stands out beyond a taut cloth at (u, v), in face widths. */
export function bulgeAt(design: Design, u: number, v: number): number {
  let slack = design.loose * Math.exp(-(((Math.abs(u) - 0.5) / 0.28) ** 2) - ((v - 0.92) / 0.22) ** 2);
  if (design.room) slack += design.room * Math.exp(-((u / 0.28) ** 2) - ((v - 0.36) / 0.28) ** 2);
  if (!design.bulge) return slack;
  const middle = (design.top[0] + design.bottom[0]) / 2, height = (design.bottom[0] - design.top[0]) / 2;
  const down = ((v - middle) / height) ** 2;
  if (design.style === "cup") return slack + design.bulge * Math.max(1 - (u / design.side) ** 2 - down, 0) ** 0.7;
  const ridge = clamp(1 - Math.abs(u) / design.side, 0, 1) ** (design.style === "kn95" ? 1.25 : 1.7);
  return slack + design.bulge * ridge * Math.max(1 - down, 0);
}

/** The same mask with this share, 0 to 1, of the room that a nose in an uncertain place needs. */
export function withRoom(design: Design, share: number): Design {
  const top = design.top.map((v, i) => v - share * ROOM_ABOVE * Math.exp(-(((i * LUT_REACH) / LUT_SIZE / 0.3) ** 2)));
  return { ...design, top, room: share * ROOM };
}

/** A table through the knots: piecewise linear, then smoothed, without a kink on the nose. */
function smooth(knots: number[], values: number[]): Float32Array {
  const line = new Float64Array(LUT_SIZE);
  for (let i = 0; i < LUT_SIZE; i++) {
    const at = (i * LUT_REACH) / (LUT_SIZE - 1), next = knots.findIndex((knot) => knot > at);
    if (next < 0) line[i] = values[values.length - 1];
    else {
      const share = (at - knots[next - 1]) / (knots[next] - knots[next - 1]);
      line[i] = values[next - 1] + share * (values[next] - values[next - 1]);
    }
  }
  const reach = Math.floor(LUT_SIZE / 14), window = hanning(2 * reach + 1), out = new Float32Array(LUT_SIZE);
  for (let i = 0; i < LUT_SIZE; i++) {
    let sum = 0;
    for (let j = -reach; j <= reach; j++) sum += window[j + reach] * line[Math.min(Math.abs(i + j), LUT_SIZE - 1)];
    out[i] = sum;
  }
  return out;
}

/** A raised cosine of `size` values that sum to 1. */
export function hanning(size: number): Float64Array {
  const out = new Float64Array(size).map((_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (size - 1)));
  const total = out.reduce((sum, value) => sum + value, 0);
  return out.map((value) => value / total);
}
