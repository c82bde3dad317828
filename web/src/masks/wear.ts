/** Draws a mask on a face by rule: fabric lit like the face, as sharp and grainy as the photo; as `maskhub.masks.wear`. */

import { paint, type Painted } from "./fabric";
import { Draper, type Head, headOf, toPhoto } from "./fit";
import { type Light, LUMA, readLight, shadeOn, toLinear, toSrgb } from "./light";
import { drawStraps, skinLike } from "./straps";
import { type Design, drawDesign, withRoom } from "./styles";
import { loadTables, type Tables, TILE } from "./tables";
import { type Unwrapped, unwrap } from "./unwrap";
import type { Rectangle } from "../faces/align";
import type { Face } from "../faces/face";
import { type Landmarks, reliable, surestLandmarks, yaw } from "../faces/landmarks";
import { PRESENT } from "../faces/mesh";
import type { Networks, ReadFile } from "../networks";
import { timed } from "../stages";
import { clamp, cut, type Field, field, type Picture } from "../vision/image";
import { gaussian, sobel } from "../vision/filter";
import { warpField } from "../vision/warp";

const SHADOW = 0.34, MARGIN = 0.07;
const UNSURE_YAW = [30, 50];

export interface WearOptions {
  /** a style's name, or "random" */
  style: string;
  /** one of the style's colours, or null for a random one */
  colour: string | null;
  seed: number;
}

export class Rule {
  private draper: Draper;

  constructor(readonly tables: Tables) {
    this.draper = new Draper(tables);
  }

  static async load(read: ReadFile): Promise<Rule> {
    return new Rule(await loadTables(read));
  }

  /** The part of a photo that shows a mask on a face, and the cover of its pixels; null if the landmarks are unreliable. */
  async wear(
    networks: Networks, photo: Picture, face: Face, options: WearOptions,
  ): Promise<{ part: Picture; region: Field; room: Rectangle } | null> {
    const marks = await surestLandmarks(networks, photo, face, this.tables.meanFace);
    if (!reliable(marks, face)) return null;
    const { image, region, room } = timed("draw", () => this.putOn(photo, marks, options));
    return { part: cut(image, room.left, room.top, room.width, room.height), region, room };
  }

  /** The photo with a mask on a face with these landmarks, and the cover of each pixel of a rectangle. */
  putOn(photo: Picture, marks: Landmarks, { style, colour, seed }: WearOptions): { image: Picture; region: Field; room: Rectangle } {
    const draws = this.tables.draws[seed % this.tables.draws.length], unsure = unsureNose(marks);
    const drawn = drawDesign(this.tables, draws, style, colour), design = unsure ? withRoom(drawn, unsure) : drawn;
    const head = headOf(marks), sheet = this.draper.drape(head, design);
    const reach = design.side + Math.max(design.waist, 0) + 0.025;
    const low = Math.min(...design.top) - 0.03, high = Math.max(...design.bottom) + 0.03;
    const seen = unwrap(sheet, [-reach, reach], [low, high], photo);
    const image: Picture = { ...photo, data: photo.data.slice() };
    if (!seen) return { image, region: field(0, 0), room: { left: 0, top: 0, width: 0, height: 0 } };
    const light = readLight(photo, marks, head, this.tables), painted = paint(design, seen, head.width, this.tables);
    const room = roomFor(design, head, seen, photo), part = cut(photo, room.left, room.top, room.width, room.height);
    const bare = skinLike(part, light.skin), straps = drawStraps(design, head, sheet, bare, room.left, room.top, this.tables);
    const { layer, whole } = layered(design, seen, painted, light, straps, room);
    const region = blend(image, part, room, layer, whole, bare, head, light, this.tables, draws.slice(14));
    return { image, region, room };
  }
}

/** How uncertain the place of the nose is, 0 to 1; above 0 only in profiles that the landmark network doesn't confirm. */
function unsureNose({ presence, rotation }: Landmarks): number {
  const [low, high] = UNSURE_YAW;
  return presence >= PRESENT ? 0 : clamp((Math.abs(yaw(rotation)) - low) / (high - low), 0, 1);
}

/** A rectangle with room for straps and shadow. */
function roomFor(design: Design, head: Head, seen: Unwrapped, photo: Picture): Rectangle {
  const margin = Math.ceil(MARGIN * head.width) + 3, height = design.style === "cup" ? -0.24 : -0.12;
  const ears = [[-0.54, height], [0.54, height], [-0.54, 0.2], [0.54, 0.2]].map(([x, y]) => toPhoto(head, x, y, 0.1));
  const xs = ears.map((ear) => ear[0]), ys = ears.map((ear) => ear[1]);
  const left = Math.max(Math.min(seen.left - margin, Math.trunc(Math.min(...xs)) - 2), 0);
  const top = Math.max(Math.min(seen.top - margin, Math.trunc(Math.min(...ys)) - 2), 0);
  const right = Math.min(Math.max(seen.left + seen.width + margin, Math.trunc(Math.max(...xs)) + 3), photo.width);
  const bottom = Math.min(Math.max(seen.top + seen.height + margin, Math.trunc(Math.max(...ys)) + 3), photo.height);
  return { left, top, width: right - left, height: bottom - top };
}

/** Fabric over straps in the rectangle: colours 0 to 255, weighted by their cover, and the cover. */
function layered(
  design: Design, seen: Unwrapped, painted: Painted, light: Light, straps: { cover: Float32Array; normal: number[] } | null,
  room: Rectangle,
): { layer: Field; whole: Field } {
  const fabric = lit(painted, seen, light), layer = field(room.width, room.height, 3), whole = field(room.width, room.height);
  const strap = new Float32Array(3);
  if (straps) {
    const [r, g, b] = design.strap.map((value) => toLinear(value * 255));
    setToned(strap, 0, r, g, b, light, shadeOn(light, straps.normal[0], straps.normal[1], straps.normal[2]));
    whole.data.set(straps.cover);
    for (let i = 0; i < layer.data.length; i++) layer.data[i] = strap[i % 3] * whole.data[Math.trunc(i / 3)];
  }
  for (let y = 0, from = 0; y < seen.height; y++) {
    let to = (seen.top - room.top + y) * room.width + seen.left - room.left;
    for (let x = 0; x < seen.width; x++, from++, to++) {
      const alpha = painted.alpha[from];
      if (!alpha) continue;
      whole.data[to] = Math.max(whole.data[to], alpha);
      for (let k = 0; k < 3; k++) layer.data[3 * to + k] = fabric[3 * from + k] * alpha + strap[k] * (whole.data[to] - alpha);
    }
  }
  return { layer, whole };
}

/** The fabric's colours in the photo, 0 to 255, where it covers it. */
function lit({ alpha, colour, relief, dim }: Painted, seen: Unwrapped, light: Light): Float32Array {
  const { width, height } = seen, normals = seen.normals.data, out = new Float32Array(3 * width * height);
  const { dx, dy } = sobel({ data: relief, width, height, channels: 1 }, 1 / 8);
  for (let i = 0, at = 0; i < width * height; i++, at += 3) {
    if (!alpha[i]) continue;
    const nz = normals[at + 2], lean = 1.2 * clamp(-nz, 0, 1);
    const shade = shadeOn(light, normals[at] - clamp(dx[i], -1, 1) * lean, normals[at + 1] - clamp(dy[i], -1, 1) * lean, nz);
    setToned(out, at, colour[at], colour[at + 1], colour[at + 2], light, shade * dim[i]);
  }
  return out;
}

/** Store a linear colour under the photo's light, 0 to 255. */
function setToned(out: Float32Array, at: number, r: number, g: number, b: number, { saturation, exposure }: Light, shade: number): void {
  const grey = r * LUMA[0] + g * LUMA[1] + b * LUMA[2], share = Math.min(saturation, 1);
  out[at] = toSrgb((share < 1 ? grey + (r - grey) * share : r) * shade * exposure[0]) * 255;
  out[at + 1] = toSrgb((share < 1 ? grey + (g - grey) * share : g) * shade * exposure[1]) * 255;
  out[at + 2] = toSrgb((share < 1 ? grey + (b - grey) * share : b) * shade * exposure[2]) * 255;
}

/** Put the layer on the photo, in place, under the photo's own blur, with its grain and a contact shadow; the region. */
function blend(
  image: Picture, part: Picture, room: Rectangle, layer: Field, whole: Field, bare: Field, head: Head, light: Light,
  tables: Tables, [grainX, grainY]: number[],
): Field {
  const sigma = Math.max(light.blur, 0.5), size = 2 * Math.ceil(2.2 * sigma) + 1, { width, height } = room;
  layer = gaussian(layer, sigma, size);
  whole = gaussian(whole, sigma, size);
  const shadow = shadowOf(whole, head, light), region = field(width, height);
  for (let y = 0, i = 0; y < height; y++) {
    let at = ((room.top + y) * image.width + room.left) * image.channels;
    const grain = ((y + grainY) % TILE) * TILE;
    for (let x = 0; x < width; x++, i++, at += image.channels) {
      const shade = shadow.data[i] * bare.data[i], cover = whole.data[i], shown = Math.max(cover, shade);
      if (shown < 1 / 255) continue;
      region.data[i] = Math.min(shown, 1);
      const noise = tables.grain.data[grain + ((x + grainX) % TILE)] * light.grain * cover;
      for (let k = 0; k < 3; k++) {
        const mixed = part.data[3 * i + k] * (1 - shade) * (1 - cover) + layer.data[3 * i + k] + noise;
        image.data[at + k] = mixed;
      }
    }
  }
  return region;
}

/** How much the mask darkens the skin around it: close to its rim, more on the side away from the light. */
function shadowOf(whole: Field, head: Head, light: Light): Field {
  const sigma = Math.max(0.6, 0.016 * head.width), size = 2 * Math.ceil(2 * sigma) + 1, reach = 0.01 * head.width;
  const [x, y] = [-light.shade[1], -light.shade[2]], length = Math.max(Math.hypot(x, y), 0.15);
  const moved = warpField(whole, [1, 0, (x / length) * reach, 0, 1, (y / length) * reach], whole.width, whole.height, "zero");
  const out = gaussian(moved, sigma, size);
  for (let i = 0; i < out.data.length; i++) out.data[i] *= SHADOW * (1 - whole.data[i]);
  return out;
}
