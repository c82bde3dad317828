/** The pipeline's networks in LiteRT, loaded on first use; with WebGPU the unmasker in onnxruntime-web. */

import { type CompiledModel, loadAndCompile, Tensor } from "@litertjs/core";
import type * as Ort from "onnxruntime-web";
import { sized } from "./sized";
import { timed } from "./stages";
import type { Picture } from "./vision/image";

/** The networks' names: files `models/<name>.tflite`. */
export type NetworkName = "yunet" | "landmarks" | "mask-detector" | "unmasker";

/** A picture's values, N×H×W×C. */
export interface Input {
  data: Float32Array;
  dims: number[];
}

const NORMALISED = Float32Array.from({ length: 256 }, (_, value) => value / 127.5 - 1);

/** A picture as a network's input, in [-1, 1]. */
export function toInput({ data: pixels, width, height, channels }: Picture): Input {
  const data = new Float32Array(3 * width * height);
  for (let i = 0, at = 0; i < data.length; i += 3, at += channels) {
    data[i] = NORMALISED[pixels[at]];
    data[i + 1] = NORMALISED[pixels[at + 1]];
    data[i + 2] = NORMALISED[pixels[at + 2]];
  }
  return { data, dims: [1, height, width, 3] };
}

/** The outputs by their names, N×H×W×C where they are pictures. */
export type Outputs = Record<string, Float32Array>;

/** Reads the site's files: fetched and cached in a browser, from a folder in Node. */
export type ReadFile = (name: string) => Promise<Uint8Array>;

type Run = (input: Input) => Promise<Outputs>;

/** Side of the pictures that YuNet's file is made for, without its border of one pixel. */
const YUNET_SIDE = 64, BORDER = 1;
/** Pixels of all sizes together that YuNet is kept for: it takes 100 bytes for each. */
const KEPT = 1.2e6;

export class Networks {
  private loaded = new Map<NetworkName, Promise<Run>>();

  /** @param webgpu onnxruntime-web with WebGPU, if the unmasker is to use it */
  constructor(private read: ReadFile, private threads: number, private webgpu?: typeof Ort) {}

  /** Load a network in advance. */
  load(name: NetworkName): Promise<Run> {
    let run = this.loaded.get(name);
    if (!run) {
      run = this.create(name);
      this.loaded.set(name, run);
      run.catch(() => this.loaded.delete(name));
    }
    return run;
  }

  /** Run a network. */
  async run(name: NetworkName, input: Input): Promise<Outputs> {
    const run = await this.load(name);
    return timed(name, () => run(input));
  }

  private async create(name: NetworkName): Promise<Run> {
    if (name === "unmasker" && this.webgpu) return onGpu(this.webgpu, await this.read(`models/${name}.onnx`));
    const file = await this.read(`models/${name}.tflite`);
    if (name === "yunet") return this.anySize(file);
    const model = await this.compile(file);
    return (input) => runOnce(model, input);
  }

  /** YuNet, compiled for each size of pictures when the first one comes. */
  private anySize(file: Uint8Array): Run {
    const models = new Map<string, { model: CompiledModel; pixels: number }>(); // the least recently used first
    return async (input) => {
      const [, height, width] = input.dims, key = `${height}×${width}`, kept = models.get(key);
      models.delete(key);
      let pixels = height * width;
      for (const { pixels: own } of models.values()) pixels += own;
      for (const [oldest, { model, pixels: own }] of models) {
        if (pixels <= KEPT) break;
        pixels -= own;
        models.delete(oldest);
        model.delete();
      }
      const model = kept?.model ?? (await this.compile(sized(file, YUNET_SIDE, height - 2 * BORDER, width - 2 * BORDER)));
      models.set(key, { model, pixels: height * width });
      return runOnce(model, input);
    };
  }

  private compile(file: Uint8Array): Promise<CompiledModel> {
    return loadAndCompile(file, { accelerator: "wasm", cpuOptions: { numThreads: this.threads } });
  }
}

async function runOnce(model: CompiledModel, { data, dims }: Input): Promise<Outputs> {
  const given = new Tensor(data, dims), made = await model.run([given]), out: Outputs = {};
  given.delete();
  for (const [number, { name }] of model.getOutputDetails().entries()) {
    out[name] = made[number].toTypedArray() as Float32Array;
    made[number].delete();
  }
  return out;
}

/** A generator in onnxruntime-web, which takes and returns N×C×H×W. */
async function onGpu(ort: typeof Ort, file: Uint8Array): Promise<Run> {
  const session = await ort.InferenceSession.create(file, { executionProviders: ["webgpu", "wasm"], graphOptimizationLevel: "all", logSeverityLevel: 3 });
  return async ({ data, dims: [count, height, width, channels] }) => {
    const size = height * width, given = new Float32Array(data.length);
    for (let i = 0; i < size; i++) for (let k = 0; k < channels; k++) given[k * size + i] = data[channels * i + k];
    const out: Outputs = {};
    for (const [name, tensor] of Object.entries(await session.run({ images: new ort.Tensor("float32", given, [count, channels, height, width]) }))) {
      const made = tensor.data as Float32Array, kept = (out[name] = new Float32Array(made.length));
      for (let i = 0; i < size; i++) for (let k = 0; k < channels; k++) kept[channels * i + k] = made[k * size + i];
    }
    return out;
  };
}
