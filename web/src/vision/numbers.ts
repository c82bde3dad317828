/** Order statistics and small linear systems. */

/** A quantile: the value below which this share of the values lies. */
export function rank(values: ArrayLike<number>, share: number): number {
  return nth(new Float64Array(values), Math.min(Math.floor(share * values.length), values.length - 1));
}

export function median(values: ArrayLike<number>): number {
  const some = new Float64Array(values), middle = some.length >> 1, upper = nth(some, middle);
  return some.length % 2 ? upper : (some.subarray(0, middle).reduce((most, value) => Math.max(most, value), -Infinity) + upper) / 2;
}

/** The value at place `k` of the sorted values, by Hoare's selection: no value before it is larger then. */
function nth(values: Float64Array, k: number): number {
  let low = 0, high = values.length - 1;
  while (low < high) {
    const pivot = values[(low + high) >> 1];
    let i = low - 1, j = high + 1;
    for (;;) {
      do i++; while (values[i] < pivot);
      do j--; while (values[j] > pivot);
      if (i >= j) break;
      const value = values[i];
      values[i] = values[j];
      values[j] = value;
    }
    if (k <= j) high = j;
    else low = j + 1;
  }
  return values[k];
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
      subtract(a[row], factor, a[column], column);
      subtract(b[row], factor, b[column], 0);
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let other = row + 1; other < n; other++) {
      const factor = a[row][other];
      subtract(b[row], factor, b[other], 0);
    }
    for (let i = 0; i < b[row].length; i++) b[row][i] /= a[row][row];
  }
  return b;
}

function subtract(from: Float64Array, factor: number, other: Float64Array, start: number): void {
  for (let i = start; i < from.length; i++) from[i] -= factor * other[i];
}
