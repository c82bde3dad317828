/** The page's interface to the worker: one promise per request. */

import type { Requests } from "./protocol";

export class Client {
  private worker: Worker;
  private waiting = new Map<number, { resolve: (answer: never) => void; reject: (error: Error) => void }>();
  private next = 0;

  /** @param base where the site's files are */
  constructor(base: string | URL) {
    this.worker = new Worker(new URL("worker.js", base), { name: "maskhub" });
    this.worker.onmessage = ({ data }) => {
      const waiting = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.error) waiting?.reject(new Error(data.error));
      else waiting?.resolve(data.answer as never);
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "the worker could not be started."));
      this.waiting.clear();
    };
  }

  /** Terminate the worker; no more requests are possible. */
  close(): void {
    this.worker.terminate();
  }

  ask<K extends keyof Requests>(name: K, given: Requests[K]["given"], transfer: Transferable[] = []): Promise<Requests[K]["answer"]> {
    return new Promise((resolve, reject) => {
      const id = this.next++;
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, name, given }, transfer);
    });
  }
}
