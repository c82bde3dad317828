/** Order statistics and small linear systems. */

/** A quantile: the value below which this share of the values lies. */
export function rank(values: ArrayLike<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.min(Math.floor(share * sorted.length), sorted.length - 1)];
}

export function median(values: ArrayLike<number>): number {
  const sorted = Float64Array.from(values).sort(), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Solve A X = B in place by elimination with row pivots; both as arrays of rows. Returns B's rows as X. */
export function solve(a: Float64Array[], b: Float64Array[]): Float64Array[] {
  const n = a.length;
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) if (Math.abs(a[row][column]) > Math.abs(a[pivot][column])) pivot = row;
    [a[column], a[pivot]] = [a[pivot], a[column]];
    [b[column], b[pivot]] = [b[pivot], b[column]];
    for (let row = column + 1; row < n; row++) {
      const factor = a[row][column] / a[column][column];
      if (factor === 0) continue;
      for (let i = column; i < n; i++) a[row][i] -= factor * a[column][i];
      for (let i = 0; i < b[row].length; i++) b[row][i] -= factor * b[column][i];
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let other = row + 1; other < n; other++) {
      const factor = a[row][other];
      for (let i = 0; i < b[row].length; i++) b[row][i] -= factor * b[other][i];
    }
    for (let i = 0; i < b[row].length; i++) b[row][i] /= a[row][row];
  }
  return b;
}
