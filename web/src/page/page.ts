/** Helpers for every part of the page. */

export function byId<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

export function show(what: string | HTMLElement, visible: boolean): void {
  (typeof what === "string" ? byId(what) : what).hidden = !visible;
}

/** Show a status message and, if something went wrong, the problem. */
export function say(status: string, problem = ""): void {
  byId("status").textContent = status;
  byId("problem").textContent = problem;
}

/** Run a handler on an event, and show its errors. */
export function listen(what: string | HTMLElement, event: string, action: () => unknown): void {
  (typeof what === "string" ? byId(what) : what).addEventListener(event, async () => {
    try {
      await action();
    } catch (error) {
      say("", (error as Error).message);
    }
  });
}
