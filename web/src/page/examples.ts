/** Pictures that may be published: Face Research Lab London Set (DeBruine, Jones; CC BY 4.0), masks by `maskhub mask`. */

export const EXAMPLES = [
  { file: "bare.jpg", label: "Example: a woman without a mask" },
  { file: "masked.jpg", label: "Example: a man with a mask" },
  { file: "group.jpg", label: "Example: six people, some with masks" },
];
