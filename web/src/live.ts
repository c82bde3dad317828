/**
 * Masks on and off in camera frames. The whole frame is searched for faces now and then; in between, only a small
 * window around each face's last position, which is smoothed. The mask detector runs every few frames.
 */

import { changedRegion } from "./changed";
import type { Direction } from "./direction";
import { alignment, crop, edgeWindow, multipleFor, paste, type Pasted } from "./faces/align";
import { detect } from "./faces/detect";
import type { Face } from "./faces/face";
import { landmarks, type Landmarks, rotationOf } from "./faces/landmarks";
import { PRESENT } from "./faces/mesh";
import { timed } from "./stages";
import { MASKED, type Pipeline } from "./pipeline";
import { after, apply, clamp, cut, type Field, field, inverse, type Matrix, type Picture, type Point, rint, scaleOf } from "./vision/image";

const EVERY = 10, EVERY_EMPTY = 3;
const SEARCH_SIDE = 480, WINDOW_SIDE = 144, WINDOW_WIDTHS = 2.2, FOLLOWED = 0.5;
const SAME = 0.3;
/** Frames between looks at the landmarks; in between a drawn mask moves with the face. */
const LOOK_EVERY = 4;
/** Frames after which a mask is drawn again, and the mean change of the face's shape in pixels of the crop. */
const DRAW_EVERY = 16, CHANGED = 1;
/** A mask's region times this, up to 1, is pasted: low values are its shadow, which is already part of the picture. */
const SHADE = 3;
/** Crops are averaged from fewer pixels than a photo's, which takes a quarter of the time at usual distances. */
const COARSE = -0.6;
const CUTOFF = 1, BETA = 14;
/** Frames between runs of the mask detector on a face; weight of its newest result; confidence needed to switch. */
const ASK_EVERY = 5, NEWEST = 0.3, DECIDED = 0.2;

/** A drawn mask: the aligned crop that wears it, its opacity, and what it was drawn for. */
interface Worn {
  image: Picture;
  region: Field;
  marks: Landmarks;
  how: string;
  /** from this crop to that of the last look */
  moved: Matrix;
  /** frames that it may still be shown */
  left: number;
}

interface Track {
  number: number;
  face: Face;
  filter: OneEuro;
  until: number;
  worn: Worn | null;
  /** the mask detector's averaged confidence; null before its first run */
  presence: number | null;
  masked: boolean;
  asked: number;
}

export interface LiveOptions {
  /** "auto": remove masks where worn, add them elsewhere */
  direction: Direction | "auto";
  style: string;
  colour: string | null;
  seed: number;
}

export class Live {
  private tracks: Track[] = [];
  private since = EVERY;
  private seconds = 0;

  constructor(private pipeline: Pipeline) {}

  reset(): void {
    this.tracks = [];
    this.since = EVERY;
  }

  /** Translate the next frame, in place; returns how many faces there are and what was replaced. */
  async frame(frame: Picture, seconds: number, options: LiveOptions): Promise<{ faces: Face[]; pasted: Pasted[] }> {
    const step = clamp(seconds - this.seconds, 1 / 240, 1);
    this.seconds = seconds;
    await timed("follow", () => this.follow(frame, step));
    const pasted: Pasted[] = [];
    // a face's crop must not show what was pasted on another
    const source: Picture = this.tracks.length > 1 ? { ...frame, data: frame.data.slice() } : frame;
    for (const track of [...this.tracks].reverse()) {
      await this.decide(source, track);
      if (options.direction === (track.masked ? "mask" : "unmask")) continue; // it needs no change
      const part = track.masked ? await this.takeOff(source, frame, track) : await this.putOn(source, frame, track, options);
      if (part) pasted.push(part);
    }
    return { faces: this.tracks.map((track) => track.face), pasted };
  }

  private async decide(source: Picture, track: Track): Promise<void> {
    if (track.asked-- > 0) return;
    track.asked = ASK_EVERY - 1;
    const now = await this.pipeline.maskPresence(source, track.face), first = track.presence === null;
    track.presence = first ? now : track.presence! + NEWEST * (now - track.presence!);
    if (first || Math.abs(track.presence - MASKED) > DECIDED) track.masked = track.presence >= MASKED;
  }

  private async takeOff(source: Picture, frame: Picture, { face }: Track): Promise<Pasted | null> {
    const side = this.pipeline.about.resolution, matrix = alignment(face, side), before = timed("align", () => crop(source, matrix, side, multipleFor(matrix, COARSE)));
    const made = await this.pipeline.unmaskCrop(before);
    const region = timed("region", () => changedRegion(before, made, matrix, source));
    return timed("paste", () => paste(frame, made, region, matrix));
  }

  /** By rule only: the network hardly changes the drawn mask and would halve the frame rate. */
  private async putOn(source: Picture, frame: Picture, track: Track, options: LiveOptions): Promise<Pasted | null> {
    const side = this.pipeline.about.resolution, matrix = alignment(track.face, side);
    if (track.until-- <= 0) {
      track.until = LOOK_EVERY - 1;
      const marks = await landmarks(this.pipeline.networks, source, track.face);
      if (marks.presence >= PRESENT) track.worn = this.drawn(source, matrix, moved(marks, matrix), track, options);
    }
    const worn = track.worn;
    if (!worn) return null;
    worn.left--;
    const place = after(inverse(worn.moved), matrix), window = edgeWindow(place, side, source), region = field(side, side);
    for (let i = 0; i < region.data.length; i++) region.data[i] = worn.region.data[i] * window.data[i];
    return timed("paste", () => paste(frame, worn.image, region, place));
  }

  /** A mask for landmarks in a crop: the one that is worn, moved, if the face still has the same shape. */
  private drawn(source: Picture, matrix: Matrix, marks: Landmarks, { number, worn }: Track, options: LiveOptions): Worn {
    const wanted = { style: options.style, colour: options.colour, seed: options.seed + number }, how = JSON.stringify(wanted);
    if (worn && worn.left > 0 && worn.how === how) {
      const { matrix: moved, error } = similarity(worn.marks.points, marks.points);
      if (error < CHANGED) return { ...worn, moved };
    }
    const side = this.pipeline.about.resolution, given = timed("align", () => crop(source, matrix, side, multipleFor(matrix, COARSE)));
    const { image, region, room } = timed("draw", () => this.pipeline.rule.putOn(given, marks, wanted));
    const shown = placed(region, room.left, room.top, side);
    for (let i = 0; i < shown.data.length; i++) shown.data[i] = Math.min(SHADE * shown.data[i], 1);
    return { image, region: shown, marks, how, moved: [1, 0, 0, 0, 1, 0], left: DRAW_EVERY };
  }

  private async follow(frame: Picture, step: number): Promise<void> {
    this.since++;
    const followed: Track[] = [];
    let lost = false;
    if (this.since < (this.tracks.length ? EVERY : EVERY_EMPTY)) {
      for (const track of this.tracks) {
        const face = await this.near(frame, track.face);
        if (face) followed.push({ ...track, face: track.filter.smooth(face, step) });
        else lost = true;
      }
      if (!lost) {
        this.tracks = followed;
        return;
      }
    }
    this.since = 0;
    const found = await detect(this.pipeline.networks, frame, { maxSide: SEARCH_SIDE, turn: false });
    const before = [...this.tracks];
    this.tracks = found.map((face) => {
      const at = before.findIndex((track) => shared(track.face.box, face.box) >= SAME);
      if (at >= 0) {
        const [track] = before.splice(at, 1);
        return { ...track, face: track.filter.smooth(face, step) };
      }
      const filter = new OneEuro();
      return { number: -1, face: filter.smooth(face, step), filter, until: 0, worn: null, presence: null, masked: false, asked: 0 };
    });
    for (const track of this.tracks) {
      if (track.number < 0) track.number = [...this.tracks.keys()].find((n) => this.tracks.every((other) => other.number !== n)) ?? 0;
    }
  }

  /** The face in a window around its last position, or null. */
  private async near(frame: Picture, face: Face): Promise<Face | null> {
    const [left, top, width, height] = face.box, side = WINDOW_WIDTHS * Math.max(width, height);
    const x = clamp(Math.floor(left + width / 2 - side / 2), 0, frame.width - 16), y = clamp(Math.floor(top + height / 2 - side / 2), 0, frame.height - 16);
    const part = cut(frame, x, y, Math.min(rint(side), frame.width - x), Math.min(rint(side), frame.height - y));
    const found = await detect(this.pipeline.networks, part, { maxSide: WINDOW_SIDE, turn: false, threshold: FOLLOWED });
    const here = found.map((one): Face => ({
      ...one, box: [one.box[0] + x, one.box[1] + y, one.box[2], one.box[3]], points: one.points.map(([px, py]): Point => [px + x, py + y]),
    }));
    const best = here.sort((a, b) => shared(b.box, face.box) - shared(a.box, face.box))[0];
    return best && shared(best.box, face.box) >= SAME ? best : null;
  }
}

/** The 1 € filter (Casiez, Roussel, Vogel, 2012) for a face's points and box together: steady at rest, quick in motion. */
class OneEuro {
  private value: number[] | null = null;
  private raw: number[] = [];
  private speed: number[] = [];

  smooth(face: Face, seconds: number): Face {
    const [left, top, width, height] = face.box;
    const next = [...face.points.flat(), left, top, left + width, top + height];
    if (this.value === null) {
      this.value = next;
      this.speed = next.map(() => 0);
    } else {
      const share = (cutoff: number): number => 1 / (1 + 1 / (2 * Math.PI * cutoff * seconds));
      this.speed = this.speed.map((speed, i) => speed + share(CUTOFF) * ((next[i] - this.raw[i]) / (seconds * width) - speed));
      const rms = Math.sqrt(this.speed.reduce((sum, speed) => sum + speed * speed, 0) / (next.length / 2));
      this.value = this.value.map((value, i) => value + share(CUTOFF + BETA * rms) * (next[i] - value));
    }
    this.raw = next;
    const [x0, y0, x1, y1] = this.value.slice(10), points = [0, 2, 4, 6, 8].map((i): Point => [this.value![i], this.value![i + 1]]);
    return { ...face, points, box: [x0, y0, x1 - x0, y1 - y0] };
  }
}

/** Landmarks in the pixels of an aligned crop. */
function moved(marks: Landmarks, matrix: Matrix): Landmarks {
  const points = marks.points.slice(), scale = scaleOf(matrix);
  for (let i = 0; i < points.length; i += 3) {
    [points[i], points[i + 1]] = apply(matrix, [points[i], points[i + 1]]);
    points[i + 2] *= scale;
  }
  return { points, presence: marks.presence, rotation: rotationOf(points) };
}

/** The turn, scale and shift that take points (x, y, z) nearest to others in the picture, and the mean distance that is left. */
function similarity(from: Float64Array, to: Float64Array): { matrix: Matrix; error: number } {
  const count = from.length / 3, middle = (points: Float64Array, k: number): number => {
    let sum = 0;
    for (let i = k; i < points.length; i += 3) sum += points[i];
    return sum / count;
  };
  const [ax, ay, bx, by] = [middle(from, 0), middle(from, 1), middle(to, 0), middle(to, 1)];
  let cos = 0, sin = 0, square = 0, error = 0;
  for (let i = 0; i < from.length; i += 3) {
    const x = from[i] - ax, y = from[i + 1] - ay, u = to[i] - bx, v = to[i + 1] - by;
    cos += x * u + y * v;
    sin += x * v - y * u;
    square += x * x + y * y;
  }
  const c = cos / square, s = sin / square, matrix: Matrix = [c, -s, bx - c * ax + s * ay, s, c, by - s * ax - c * ay];
  for (let i = 0; i < from.length; i += 3) {
    const [x, y] = apply(matrix, [from[i], from[i + 1]]);
    error += Math.sqrt((x - to[i]) ** 2 + (y - to[i + 1]) ** 2) / count;
  }
  return { matrix, error };
}

/** A region as a field at its place in a crop. */
function placed(region: Field, left: number, top: number, side: number): Field {
  const out = field(side, side);
  for (let y = 0; y < region.height; y++) {
    out.data.set(region.data.subarray(y * region.width, (y + 1) * region.width), (top + y) * side + left);
  }
  return out;
}

/** Intersection over union of two boxes. */
function shared(one: Face["box"], other: Face["box"]): number {
  const across = Math.min(one[0] + one[2], other[0] + other[2]) - Math.max(one[0], other[0]);
  const down = Math.min(one[1] + one[3], other[1] + other[3]) - Math.max(one[1], other[1]);
  const both = Math.max(across, 0) * Math.max(down, 0);
  return both / Math.max(one[2] * one[3] + other[2] * other[3] - both, 1e-6);
}
