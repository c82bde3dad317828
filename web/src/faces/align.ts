/** Cuts aligned face crops and pastes them back, as in `maskhub.faces.align`. */

import { angleOf, type Face } from "./face";
import {
  apply, clamp, type Field, field, inverse, type Matrix, type Picture, pixelScaled, type Point, rint, scaleOf,
} from "../vision/image";
import { distance, shrink, shrinkField } from "../vision/filter";
import { warp, warpCubic, warpField } from "../vision/warp";

export const EYE_HEIGHT = 0.32;
export const SIDE = 1.4;
export const BEYOND = 0.01;
const BORDER = 0.06;

/** The similarity that takes the photo's pixels to those of the aligned crop. */
export function alignment(face: Face, resolution: number, wider = 1): Matrix {
  const [[rx, ry], [lx, ly]] = face.points, angle = angleOf(face);
  const cos = Math.cos(angle), sin = Math.sin(angle);
  const eyes: Point = [(rx + lx) / 2, (ry + ly) / 2], [middle, faceWidth] = middleAndWidth(face, cos, sin);
  const side = wider * SIDE * faceWidth;
  const offset = ((middle[0] - eyes[0]) * cos + (middle[1] - eyes[1]) * sin) / 2;
  const x = eyes[0] + (offset - side / 2) * cos + EYE_HEIGHT * side * sin;
  const y = eyes[1] + (offset - side / 2) * sin - EYE_HEIGHT * side * cos;
  const scale = resolution / side;
  const [a, b, c, d] = [cos * scale, sin * scale, -sin * scale, cos * scale];
  return [a, b, -(a * x + b * y), c, d, -(c * x + d * y)];
}

/** The middle of a face and its width along a unit vector. */
function middleAndWidth(face: Face, cos: number, sin: number): [Point, number] {
  if (face.sides) {
    const [[x0, y0], [x1, y1]] = face.sides;
    return [[(x0 + x1) / 2, (y0 + y1) / 2], (x1 - x0) * cos + (y1 - y0) * sin];
  }
  const [left, top, width, height] = face.box;
  // a head that lies on its side has its width along the box's height
  const lying = Math.abs(sin) > 0.9;
  return [[left + width / 2, top + height / 2], lying ? width * Math.abs(cos) + height * Math.abs(sin) : width];
}

/**
 * Cut the aligned crop out of a photo; beyond its edges the border pixels are repeated. With a `multiple` above 1 it is
 * cut out that much larger and averaged.
 */
export function crop(image: Picture, matrix: Matrix, resolution: number, multiple = multipleFor(matrix, -0.25)): Picture {
  const side = resolution * multiple;
  const out = warp(image, pixelScaled(matrix, multiple), side, side);
  return multiple > 1 ? shrink(out, resolution, resolution) : out;
}

/** The whole number next above a photo's pixels in one of a crop, plus some tolerance. */
export function multipleFor(matrix: Matrix, tolerance: number): number {
  return clamp(Math.ceil(1 / scaleOf(matrix) + tolerance), 1, 16);
}

export interface Rectangle {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** A paste: the rectangle of the photo, and the share of each of its pixels that was replaced. */
export interface Pasted extends Rectangle {
  weight: Float32Array;
}

/**
 * Blend a changed crop into a photo, in place, through a soft region. Where the region is 0, the photo's bytes stay.
 */
export function paste(photo: Picture, changed: Picture, region: Field, matrix: Matrix): Pasted | null {
  const grow = 1 / scaleOf(matrix);
  if (grow < 0.9) {
    const side = Math.max(2, rint(changed.height * grow));
    matrix = pixelScaled(matrix, side / changed.height);
    changed = shrink(changed, side, side);
    region = shrinkField(region, side, side);
  }
  const back = inverse(matrix), bounds = boundsOf(region);
  if (!bounds) return null;
  const [left, top, right, bottom] = bounds;
  const corners = ([[left, top], [right, top], [right, bottom], [left, bottom]] as Point[]).map((corner) => apply(back, corner));
  const xs = corners.map((corner) => corner[0]), ys = corners.map((corner) => corner[1]);
  const x0 = clamp(Math.floor(Math.min(...xs)) - 1, 0, photo.width), y0 = clamp(Math.floor(Math.min(...ys)) - 1, 0, photo.height);
  const x1 = clamp(Math.ceil(Math.max(...xs)) + 1, 0, photo.width), y1 = clamp(Math.ceil(Math.max(...ys)) + 1, 0, photo.height);
  if (x1 <= x0 || y1 <= y0) return null;
  const local: Matrix = [back[0], back[1], back[2] - x0, back[3], back[4], back[5] - y0];
  const width = x1 - x0, height = y1 - y0;
  const weight = warpField(region, local, width, height, "zero").data;
  const made = warpCubic(changed, local, width, height, weight);
  for (let y = 0, i = 0; y < height; y++) {
    let at = ((y0 + y) * photo.width + x0) * photo.channels;
    for (let x = 0; x < width; x++, i++, at += photo.channels) {
      const share = (weight[i] = clamp(weight[i], 0, 1));
      if (share <= 0) continue;
      for (let k = 0; k < 3; k++) {
        const part = photo.data[at + k];
        photo.data[at + k] = Math.fround(part + Math.fround((made.data[3 * i + k] - part) * share));
      }
    }
  }
  return { left: x0, top: y0, width, height, weight };
}

/** Left, top, right and bottom of what is above 0, with a pixel around it; null if nothing is. */
function boundsOf({ data, width, height }: Field): number[] | null {
  let left = width, top = height, right = -1, bottom = -1;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (data[i] <= 0) continue;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return right < 0 ? null : [left - 1, top - 1, right + 1, bottom + 1];
}

/** The maximum opacity of each pixel of a crop in the photo, so that the crop's edges are not visible. */
export function edgeWindow(matrix: Matrix, side: number, photo: { width: number; height: number }): Field {
  const away = fromHiddenEdges(matrix, side, photo), result = field(side, side), soft = BORDER * side;
  for (let y = 0, i = 0; y < side; y++) {
    for (let x = 0; x < side; x++, i++) {
      const ramp = clamp((away ? away[(y + 1) * (side + 2) + x + 1] - 1 : Math.min(x, y, side - 1 - x, side - 1 - y)) / soft, 0, 1);
      result.data[i] = ramp * ramp * (3 - 2 * ramp);
    }
  }
  return result;
}

/**
 * For each pixel of a crop and of a rim one pixel wide: the distance to the edges beyond which the photo continues. Null
 * if it does on all sides, since the distance is then that to the nearest edge.
 */
function fromHiddenEdges(matrix: Matrix, side: number, photo: { width: number; height: number }): Float32Array | null {
  const out = BEYOND * side, near = -out, far = side - 1 + out, back = inverse(matrix), full = side + 2;
  const inPhoto = (x: number, y: number): boolean => {
    const [px, py] = apply(back, [x, y]);
    return px >= 0 && py >= 0 && px <= photo.width - 1 && py <= photo.height - 1;
  };
  const ends = [Math.min(near, -1), Math.max(far, side)];
  if (ends.every((x) => ends.every((y) => inPhoto(x, y)))) return null;
  const hidden = new Uint8Array(full * full).fill(1);
  for (let i = 0; i < full; i++) {
    if (inPhoto(i - 1, near)) hidden[i] = 0;
    if (inPhoto(i - 1, far)) hidden[(full - 1) * full + i] = 0;
    if (inPhoto(near, i - 1)) hidden[i * full] = 0;
    if (inPhoto(far, i - 1)) hidden[i * full + full - 1] = 0;
  }
  return distance(hidden, full, full);
}
