/** Whether a mask is put on or taken off, as in `maskhub.direction`. */
export type Direction = "mask" | "unmask";
