/** A mask style's display name. */
export function named(style: string): string {
  return style === "kn95" ? "KN95" : style[0].toUpperCase() + style.slice(1);
}
