/** A detected face, as in `maskhub.faces.face`. */

import { clamp, type Point } from "../vision/image";

const PROFILE = [0.45, 0.2], ASTRAY = [15, 30], USELESS = 60;

export interface Face {
  /** left, top, width, height in the photo's pixels; may extend beyond its edges */
  box: [number, number, number, number];
  /** eye, eye, nose tip, mouth corner, mouth corner; the person's right side first */
  points: Point[];
  /** 0 to 1 */
  score: number;
  /** the outermost points of the face to its right and left, at the height of its eyes, where landmarks placed it */
  sides?: Point[];
}

/**
 * The rotation of a face in radians, clockwise, from the line between its eyes; in profile, where they nearly coincide, from
 * the line from eyes to mouth.
 */
export function angleOf({ points: [right, left, , one, other] }: Face): number {
  const across = left[0] - right[0], along = left[1] - right[1], angle = Math.atan2(along, across);
  const beside = (one[0] + other[0] - right[0] - left[0]) / 2, below = (one[1] + other[1] - right[1] - left[1]) / 2;
  const share = Math.hypot(across, along) / Math.max(Math.hypot(beside, below), 1e-6);
  if (share >= PROFILE[0]) return angle;
  const off = between(Math.atan2(-beside, below) - angle);
  const degrees = (Math.abs(off) * 180) / Math.PI;
  const profile = degrees <= USELESS ? Math.min((PROFILE[0] - share) / (PROFILE[0] - PROFILE[1]), 1) : 1;
  const astray = clamp((degrees - ASTRAY[0]) / (ASTRAY[1] - ASTRAY[0]), 0, 1);
  return between(angle + profile * astray * off);
}

/** The same angle between −π and π. */
function between(angle: number): number {
  return angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));
}

/** The rotation of a face in degrees, clockwise. */
export function rollOf(face: Face): number {
  return (angleOf(face) * 180) / Math.PI;
}

/** Degrees between the rolls of two faces, 0 to 180. */
export function turnedFrom(face: Face, other: Face): number {
  return Math.abs(((((rollOf(face) - rollOf(other) + 180) % 360) + 360) % 360) - 180);
}
