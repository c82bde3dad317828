/** Paints a mask's design on its unwrapped sheet, pixel by pixel; as in `maskhub.masks.fabric`. */

import { Canvas, fraction, soft, WIDE } from "./canvas";
import type { Unwrapped } from "./unwrap";
import type { Design } from "./styles";
import type { Tables } from "./tables";
import { clamp } from "../vision/image";

/** A painted sheet, in the rectangle of its Unwrapped. */
export interface Painted {
  /** 0 to 1, how much of the pixel the mask covers */
  alpha: Float32Array;
  /** linear albedo, three channels */
  colour: Float32Array;
  /** height above the plain sheet in pixels */
  relief: Float32Array;
  /** the share of light that reaches into folds */
  dim: Float32Array;
}

type Painter = (c: Canvas) => () => void;

export function paint(design: Design, sheet: Unwrapped, width: number, tables: Tables): Painted {
  const size = sheet.u.length, c = new Canvas(design, sheet, width, tables), painter = PAINTERS[design.style](c);
  const alpha = new Float32Array(size), colour = new Float32Array(3 * size), relief = new Float32Array(size), dim = new Float32Array(size);
  const shown = besideCovered(sheet);
  for (let i = 0; i < size; i++) {
    if (!shown[i]) continue;
    c.move(i);
    alpha[i] = soft(c.inside * width + 0.5) * sheet.cover[i];
    painter();
    c.dim *= 1 - 0.3 * soft((c.v - 0.86) * 4); // little light comes from below the chin
    for (let k = 0; k < 3; k++) colour[3 * i + k] = c.colour[k];
    relief[i] = c.relief * width;
    dim[i] = clamp(c.dim, 0.2, 1.1);
  }
  return { alpha, colour, relief, dim };
}

/** 1 for the pixels that the sheet covers and their neighbours, whose relief gives the slope. */
function besideCovered({ cover, width, height }: Unwrapped): Uint8Array {
  const out = new Uint8Array(cover.length);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!cover[i]) continue;
      for (let row = Math.max(y - 1, 0); row <= Math.min(y + 1, height - 1); row++) {
        out.fill(1, row * width + Math.max(x - 1, 0), row * width + Math.min(x + 2, width));
      }
    }
  }
  return out;
}

const surgical: Painter = (c) => {
  const { design } = c, cloth = c.clothNoise(0.013, 0.0075, 0.014), bow = 0.035 + 0.05 * c.picks[7];
  const wobble = c.noise("smooth", 120, 30, 3), swing = c.noise("smooth", 200, 60, 2);
  const fold = c.pleater(design.pleats, Math.trunc(c.picks[6] * 8)), hem = 0.042;
  return () => {
    cloth();
    const sides = (c.away / design.side) ** 2;
    const place = c.down + wobble() * 0.01 - bow * (1 - sides) * (c.down - 0.35);
    // the folds are pressed flat at the sides and open over the mouth
    const open = soft(1 - sides), uneven = 1 + 0.35 * swing();
    fold(place, (0.02 + 0.012 * open) * uneven, (0.34 - 0.1 * open) * uneven);
    // the sewn rim, brighter since its fabric is doubled, with the nose wire in it
    const band = Math.min(c.belowTop, c.aboveBottom, c.fromSide + 0.012);
    const doubled = soft((hem - band) * c.width * 0.7 + 0.5);
    c.dim *= 1 + doubled * 0.1;
    c.relief += doubled * 0.003;
    c.groove(c.line(band - hem, 0.003) * c.dashes(c.x + c.y, 0.016, 0.7), 0.0012, 0.13);
    c.relief += c.line(c.belowTop - 0.022, 0.009, 0.008) * soft((0.34 - c.away) * 8) * 0.0045;
    c.rim(0.01, 0.1);
  };
};

const kn95: Painter = (c) => {
  const { design } = c, cloth = c.clothNoise(0.006, 0.0032, 0.012), valve = design.valve ? valveAt(c, 0.36, 0.62, 0.075) : null;
  const uneven = c.noise("fibre", 60, 1, 3), ink = c.tinter([0.35, 0.42, 0.55]);
  return () => {
    cloth();
    // the fold from nose to chin stands as an edge
    c.ridge(0.032, 0.13);
    c.groove(c.line(c.x, 0.0045), 0.002, 0.1);
    for (const side of [-0.014, 0.014]) c.groove(c.line(c.x - side, 0.0022) * c.dashes(c.y, 0.02), 0.001, 0.08);
    const rim = c.rimDistance;
    for (const depth of [0.02, 0.034]) c.groove(c.line(rim - depth, 0.0035) * c.dashes(c.x + c.y, 0.014, 0.55), 0.0016, 0.13);
    // the weld that runs across each half, and the nose clip under the fabric
    const slant = c.down - (0.26 + 0.3 * c.away);
    c.groove(c.line(slant * 0.8, 0.003) * Number(c.away > 0.12) * Number(c.fromSide > 0.05), 0.0012, 0.09);
    const clip = c.line(c.belowTop - 0.06, 0.014, 0.01) * soft((0.3 - c.away) * 10);
    c.relief += clip * 0.005;
    c.dim *= 1 - 0.1 * clip;
    valve?.();
    if (design.printed && c.u > 0.36 && c.u < 0.6) {
      for (const [row, end] of [1, 0.7].entries()) {
        const letters = c.dashes(c.x + uneven() * 0.002, 0.019, 0.62);
        if (c.u < 0.36 + 0.24 * end) ink(c.line(c.down - (0.52 + 0.055 * row), 0.007) * letters * 0.45);
      }
    }
    c.rim(0.012, 0.1);
  };
};

const cup: Painter = (c) => {
  const { design } = c, cloth = c.clothNoise(0.0014, 0, 0.02), valve = design.valve ? valveAt(c, 0, 0.56, 0.085) : null;
  const metal = c.tinter([0.62, 0.63, 0.65]);
  return () => {
    cloth();
    const round = Math.sqrt((c.away / design.side) ** 2 + ((c.down - 0.5) * 2) ** 2 + 1e-4);
    for (let ring = 0; ring < design.rings; ring++) {
      const distance = (round - (0.8 - 0.16 * ring)) * 0.5;
      c.relief += c.line(distance, 0.01, 0.012) * 0.005;
      c.dim *= 1 - 0.1 * c.line(distance - 0.014, 0.006, 0.008);
    }
    // the pressed flange
    c.relief -= soft((0.04 - c.inside) * c.width * 0.5 + 0.5) * 0.01;
    c.groove(c.line(c.inside - 0.042, 0.004), 0.002, 0.14);
    c.groove(c.line(c.inside - 0.02, 0.0025) * c.dashes(c.x + c.y, 0.012, 0.5), 0.001, 0.1);
    // the aluminium clip over the nose
    const clip = c.line(c.belowTop - 0.058, 0.014, 0.006) * soft((0.27 - c.away) * c.width * 0.15);
    metal(clip * 0.75);
    c.relief += clip * 0.004;
    valve?.();
    c.rim(0.012, 0.14);
  };
};

const cloth: Painter = (c) => {
  const { design } = c, pattern = design.style === "patterned" ? PATTERNS[design.pattern](c) : null;
  const noise = c.clothNoise(0.016, 0.0085, 0.018), weave = Math.min(1, c.width / 500), gather = c.noise("smooth", 100, 900, 3);
  const fold = design.pleats ? c.pleater(2, 3) : null;
  return () => {
    pattern?.();
    noise();
    if (weave > 0.5) c.dim *= 1 + Math.sin(c.x * 2 * Math.PI * 150) * Math.sin(c.y * 2 * Math.PI * 150) * 0.07 * weave;
    if (design.seam) {
      c.ridge(0.012, 0.12);
      c.groove(c.line(c.x, 0.004), 0.0025, 0.22);
      c.groove(c.line(Math.abs(c.x) - 0.016, 0.0022) * c.dashes(c.y, 0.018), 0.0012, 0.14);
    }
    fold?.(c.down, 0.022, 0.35);
    c.groove(c.line(c.rimDistance - 0.024, 0.0028) * c.dashes(c.x + c.y, 0.018, 0.6), 0.0014, 0.18);
    const tunnel = soft((0.055 - c.fromSide) * c.width * 0.4 + 0.5);
    c.relief += tunnel * 0.004 + (tunnel ? tunnel * gather() * 0.0022 : 0);
    c.rim(0.012, 0.2);
  };
};

const neoprene: Painter = (c) => {
  const noise = c.clothNoise(0.009, 0.004, 0.008);
  return () => {
    noise();
    c.ridge(0.014, 0.12);
    c.groove(c.line(c.x, 0.0045), 0.0035, 0.24);
    if (c.design.stitched) c.groove(c.line(c.rimDistance - 0.02, 0.0025), 0.0012, 0.15);
    c.rim(0.016, 0.16);
  };
};

const PAINTERS: Record<string, Painter> = { surgical, kn95, cup, cloth, patterned: cloth, neoprene };

/** An exhalation valve: a raised plastic disc with slots. */
function valveAt(c: Canvas, u: number, down: number, radius: number): () => void {
  const plastic = c.tinter(c.design.base.map((value) => value * 0.35 + 0.55)), blur = Math.max(0.008, 1.5 / c.width);
  return () => {
    const x = c.x - u * WIDE, y = (c.down - down) * 0.78, away = Math.hypot(x, y);
    const disc = soft((radius - away) / blur + 0.5);
    plastic(disc);
    c.relief = c.relief * (1 - 0.8 * disc) + disc * 0.016;
    c.groove(c.line(Math.abs(away - 0.72 * radius), 0.004) * disc, 0.004, 0.22);
    c.groove(c.line(fraction(y / 0.026) * 0.026 - 0.013, 0.004) * Number(away < 0.62 * radius), 0.004, 0.35);
    // the shadow at its foot
    c.dim *= 1 - 0.22 * soft(1 - Math.abs(away - radius - 0.006) / 0.012) * Number(y > -0.3 * radius);
  };
}

/** Bands of a period, anti-aliased. */
function wave(along: number, period: number, share: number, width: number): number {
  return soft((share - Math.abs(fraction(along / period) - 0.5) * 2) * ((period * width) / 2) + 0.5);
}

const PATTERNS: Record<string, Painter> = {
  stripes: (c) => {
    const period = 0.05 + 0.07 * c.picks[4], across = c.picks[7] < 0.5, tint = c.tinter(c.design.accent);
    return () => tint(wave(across ? c.x : c.y, period, 0.5, c.width));
  },
  checks: (c) => {
    const period = 0.05 + 0.06 * c.picks[4], tint = c.tinter(c.design.accent);
    return () => tint((wave(c.x, period, 0.5, c.width) + wave(c.y, period, 0.5, c.width)) * 0.45);
  },
  dots: (c) => {
    const period = 0.06 + 0.05 * c.picks[4], tint = c.tinter(c.design.accent);
    return () => {
      const row = Math.floor(c.y / period), x = fraction(c.x / period + 0.5 * row) - 0.5, y = fraction(c.y / period) - 0.5;
      tint(soft((0.26 * period - Math.hypot(x, y) * period) * c.width + 0.5));
    };
  },
  camouflage: (c) => {
    const { base, accent } = c.design;
    const layers = [
      { colour: base.map((value) => value * 0.55 + 0.32), level: 0.35 },
      { colour: base.map((value) => value * 0.32), level: 0.55 },
      { colour: accent.map((value) => value * 0.6), level: 1.15 },
    ].map(({ colour, level }, channel) => ({ tint: c.tinter(colour), level, field: c.noise("smooth", 330, 430, channel) }));
    return () => {
      for (const { tint, level, field } of layers) tint(soft((field() - level) * (c.width / 20) + 0.5));
    };
  },
  floral: (c) => {
    const { base, accent } = c.design, leaves = c.noise("smooth", 600, 600, 2), cell = 0.115 + 0.05 * c.picks[4];
    const leaf = c.tinter(base.map((value, k) => value * 0.5 + [0.1, 0.25, 0.1][k])), petal = c.tinter(accent), heart = c.tinter([0.95, 0.78, 0.3]);
    const sharp = cell * c.width;
    return () => {
      leaf(soft((leaves() - 1) * (c.width / 24) + 0.5) * 0.8);
      // flowers of five petals scattered on a jittered grid
      const gx = Math.floor(c.x / cell), gy = Math.floor(c.y / cell);
      const seed = fraction(Math.sin(gx * 127.1 + gy * 311.7 + (c.design.seed % 1000)) * 437.585), turn = fraction(seed * 57.3);
      const x = c.x / cell - gx - 0.5 - (seed - 0.5) * 0.4, y = c.y / cell - gy - 0.5 - (turn - 0.5) * 0.4, away = Math.hypot(x, y);
      const petals = 0.2 + 0.09 * Math.cos(5 * Math.atan2(y, x) + turn * 6.3), size = 0.7 + 0.5 * turn;
      petal(soft((petals * size - away) * sharp + 0.5));
      heart(soft((0.075 * size - away) * sharp + 0.5));
    };
  },
};
