/** The few things that every part of the page does. */

export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export function show(what: string | HTMLElement, visible: boolean): void {
  (typeof what === "string" ? byId(what) : what).hidden = !visible;
}

/** Tell what is going on; and what went wrong, if anything did. */
export function say(status: string, problem = ""): void {
  byId("status").textContent = status;
  byId("problem").textContent = problem;
}

/** Do something on an event, and tell of what goes wrong. */
export function listen(what: string | HTMLElement, event: string, action: () => unknown): void {
  (typeof what === "string" ? byId(what) : what).addEventListener(event, async () => {
    try {
      await action();
    } catch (error) {
      say("", (error as Error).message);
    }
  });
}
