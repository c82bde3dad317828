/** The pipeline's networks in onnxruntime-web, loaded on first use. */

import type * as Ort from "onnxruntime-web";
import { timed } from "./stages";

/** The networks' names: files `models/<name>.onnx`. */
export type NetworkName = "yunet" | "landmarks" | "mask-detector" | "unmasker";

export interface Input {
  data: Float32Array;
  dims: number[];
}

export type Outputs = Record<string, Float32Array>;

/** Reads the site's files: fetched and cached in a browser, from a folder in Node. */
export type ReadFile = (name: string) => Promise<Uint8Array>;

export class Networks {
  private sessions = new Map<NetworkName, Promise<Ort.InferenceSession>>();
  private queue: Promise<unknown> = Promise.resolve();

  constructor(private ort: typeof Ort, private read: ReadFile, private providers: string[] = ["wasm"]) {}

  /** Load a network in advance. */
  load(name: NetworkName): Promise<Ort.InferenceSession> {
    let session = this.sessions.get(name);
    if (!session) {
      session = this.inTurn(() => this.create(name));
      this.sessions.set(name, session);
      session.catch(() => this.sessions.delete(name));
    }
    return session;
  }

  /** Run a network. */
  async run(name: NetworkName, inputs: Record<string, Input>): Promise<Outputs> {
    const session = await this.load(name);
    const feeds: Record<string, Ort.Tensor> = {};
    for (const [key, { data, dims }] of Object.entries(inputs)) feeds[key] = new this.ort.Tensor("float32", data, dims);
    const made = await this.inTurn(() => timed(name, () => session.run(feeds)));
    const out: Outputs = {};
    for (const [key, tensor] of Object.entries(made)) out[key] = tensor.data as Float32Array;
    return out;
  }

  /** Runs tasks one after another: onnxruntime's WASM can neither be initialised twice nor run concurrently. */
  private inTurn<T>(action: () => Promise<T>): Promise<T> {
    const turn = this.queue.then(action);
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  private async create(name: NetworkName): Promise<Ort.InferenceSession> {
    // WebGPU has no 8-bit arithmetic: each such layer would move its data to the CPU and back
    const file = name === "unmasker" && this.providers[0] === "webgpu" ? `${name}-float` : name;
    const bytes = await this.read(`models/${file}.onnx`);
    // YuNet is small and takes any size: WebGPU would compile its kernels again for each
    const providers = name === "yunet" ? ["wasm"] : this.providers;
    return this.ort.InferenceSession.create(bytes, {
      executionProviders: providers,
      graphOptimizationLevel: "all",
      logSeverityLevel: 3,
    });
  }
}
