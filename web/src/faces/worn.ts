/** Whether a face wears a mask, as in `maskhub.faces.worn`. */

import { type Networks, toInput } from "../networks";
import type { Picture } from "../vision/image";
import { alignment, crop } from "./align";
import type { Face } from "./face";

/** Side of the mask detector's crops. */
const SIDE = 128;

/** The mask detector's confidence that a face wears a mask, 0 to 1. */
export async function worn(networks: Networks, photo: Picture, face: Face): Promise<number> {
  const { presence } = await networks.run("mask-detector", toInput(crop(photo, alignment(face, SIDE), SIDE)));
  return 1 / (1 + Math.exp(-presence[0]));
}
