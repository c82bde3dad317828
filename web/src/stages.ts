/** Where the time goes: how often each stage of the pipeline ran and how long, for `benchmarks/bench_web.py`. */

export interface Spent {
  runs: number;
  /** milliseconds of wall time, and of processor time where it can be read */
  wall: number;
  work: number;
}

export const stages: Record<string, Spent> = {};

let processor = (): number => 0;

/** Read processor time, of all threads in milliseconds, from this clock: browsers have none. */
export function useClock(clock: () => number): void {
  processor = clock;
}

/** Do something, and count its time. */
export function timed<T>(stage: string, action: () => T): T {
  const wall = performance.now(), work = processor(), made = action();
  const count = (): void => {
    const spent = (stages[stage] ??= { runs: 0, wall: 0, work: 0 });
    spent.runs++;
    spent.wall += performance.now() - wall;
    spent.work += processor() - work;
  };
  if (!(made instanceof Promise)) count();
  else void made.then(count, () => undefined);
  return made;
}
