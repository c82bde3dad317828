/** What happened to each face, and how it is reported. Mirrors `maskhub.pipelines.outcomes`. */

import type { Direction } from "./direction";

/** The outcomes of faces that are left as they are, in the order in which they are reported. */
const LEFT = ["no mask worn", "already masked", "not clear enough"] as const;

/** The outcome for a face. */
export type Outcome = "changed" | (typeof LEFT)[number];

const DONE = { mask: "put on", unmask: "taken off" } as const;
/** A face that the visitor left out, for which no reason is given. */
const NOT_CHOSEN = "";

/** One sentence about the faces of a photo, of which the visitor left out those with the numbers in `leave`. */
export function described(faces: { direction: Direction; outcome: Outcome }[], leave: Set<number>): string {
  const told = faces.map(({ direction, outcome }, number) => {
    if (outcome !== "changed") return outcome;
    return leave.has(number) ? NOT_CHOSEN : DONE[direction];
  });
  const several = faces.length > 1, count = (what: string) => told.filter((other) => other === what).length;
  const said = (what: string, one: string, many: string) => {
    const n = count(what);
    return n ? [`${several ? `${n} ` : ""}${n === 1 ? one : many}`] : [];
  };
  const parts = Object.values(DONE).flatMap((what) => said(what, `mask ${what}`, `masks ${what}`));
  for (const why of [...LEFT, NOT_CHOSEN]) {
    const reason = why && ` (${why})`;
    parts.push(...said(why, `left as it is${reason}`, `left as they are${reason}`));
  }
  return `${faces.length} ${several ? "faces" : "face"} found: ${parts.join(", ")}`;
}
