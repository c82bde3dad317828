/** A mask style's name for people. */
export function named(style: string): string {
  return style === "kn95" ? "KN95" : style[0].toUpperCase() + style.slice(1);
}
