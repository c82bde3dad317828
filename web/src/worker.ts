/** The pipeline in its own worker, so that the page stays responsive. */

import type * as Ort from "onnxruntime-web";
import { decode, frameOf, PhotoError } from "./decode";
import type { Face } from "./faces/face";
import { encodeJpeg, encodePng } from "./files";
import { fastestBuild, startLiteRt } from "./litert";
import { Live } from "./live";
import { Rule } from "./masks/wear";
import { type NetworkName, Networks } from "./networks";
import { packed } from "./packed";
import { compose, Pipeline, type Translated } from "./pipeline";
import { isDisplayP3, profileOf } from "./profile";
import type { Requests } from "./protocol";
import { stages, timed } from "./stages";
import { type Tag, tagOf } from "./provenance";
import type { Picture } from "./vision/image";

const PREVIEW = 1280;
const WEBGPU = "ort/ort-wasm-simd-threaded.asyncify";
const ALL: NetworkName[] = ["yunet", "mask-detector", "unmasker", "landmarks"];

let pipeline: Pipeline | null = null;
let photo: Picture | null = null, profile: Uint8Array | null = null, faces: Face[] = [], result: Picture | null = null, done: Translated[] = [], doneFor = "";
let tag: Tag["direction"] = "translate";
let live: Live | null = null, lastFrame: Picture | null = null, lastDirection: Tag["direction"] = "mask";

/** A file of the site. Large ones are stored compressed, since not every server compresses. */
async function read(name: string): Promise<Uint8Array> {
  const response = await fetch(new URL(`${name}.gz`, self.location.href));
  if (!response.ok) throw new Error(`${name} could not be loaded (${response.status}).`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b; // unless the server declared the encoding, and the browser has unpacked it
  return isPacked ? packed(bytes, new DecompressionStream("gzip")) : bytes;
}

const address = (name: string): string => new URL(name, self.location.href).href;

async function load({ webgpu }: Requests["load"]["given"]): Promise<Requests["load"]["answer"]> {
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, 4) : 1;
  const ort = webgpu && (await hasWebGpu()) ? await webGpu() : undefined, build = `litert/${await fastestBuild(threads)}`;
  const [binary, about, tables] = await Promise.all([read(`${build}.wasm`), read("models/pipeline.json"), Rule.load(read)]);
  await startLiteRt(address(`${build}.js`), binary);
  pipeline = new Pipeline(new Networks(read, threads, ort), JSON.parse(new TextDecoder().decode(about)), tables);
  await Promise.all((["yunet", "mask-detector", "unmasker"] as NetworkName[]).map((name) => ready().networks.load(name)));
  const { version, model } = pipeline.about;
  const used = build.includes("threaded") ? threads : 1;
  return { version, model, styles: Object.keys(tables.tables.colours), device: ort ? "webgpu" : "wasm", threads: used };
}

/** onnxruntime-web with WebGPU, a runtime of its own. */
async function webGpu(): Promise<typeof Ort> {
  const ort = (await import(address("ort/ort.webgpu.mjs"))) as typeof Ort;
  ort.env.wasm.wasmPaths = { mjs: address(`${WEBGPU}.mjs`) };
  ort.env.wasm.wasmBinary = (await read(`${WEBGPU}.wasm`)).buffer as ArrayBuffer;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return ort;
}

async function hasWebGpu(): Promise<boolean> {
  const gpu = (navigator as unknown as { gpu?: { requestAdapter(): Promise<unknown> } }).gpu;
  return Boolean(await gpu?.requestAdapter().catch(() => null));
}

const ready = (): Pipeline => {
  if (!pipeline) throw new Error("the networks are not loaded yet.");
  return pipeline;
};

async function open({ file, name }: Requests["open"]["given"]): Promise<Requests["open"]["answer"]> {
  const opened = await timed("decode", () => decode(file, name)), colours = await profileOf(file);
  const found = await ready().find(opened);
  [photo, profile, faces, result, done, doneFor] = [opened, colours, found, null, [], ""];
  return { width: photo.width, height: photo.height, preview: await timed("show", () => previewOf(opened)), faces: faces.map((face) => face.box) };
}

async function translate({ options, leave }: Requests["translate"]["given"]): Promise<Requests["translate"]["answer"]> {
  if (!photo) throw new PhotoError("Choose a photo first.");
  if (!faces.length) throw new PhotoError("No face was found. Use a photo in which a face is at least 30 pixels wide.");
  const start = performance.now(), wanted = JSON.stringify(options);
  if (wanted !== doneFor) {
    done = await ready().translate(photo, faces, options);
    doneFor = wanted;
  }
  const kept = done.filter((_, number) => !leave.includes(number));
  const made = (result = compose(photo, kept).image);
  tag = options.direction === "auto" ? "translate" : options.direction;
  const reports = done.map(({ face, direction, outcome }) => ({ box: face.box, direction, outcome }));
  return { preview: await timed("show", () => previewOf(made)), faces: reports, seconds: (performance.now() - start) / 1000 };
}

function file(image: Picture, direction: Tag["direction"], colours: Uint8Array | null, format: "png" | "jpeg"): Promise<Blob> {
  const { version, model } = ready().about, said = tagOf(version, model, direction);
  return timed("encode", () => (format === "png" ? encodePng : encodeJpeg)(image, said, colours));
}

async function frame({ shot, seconds, options }: Requests["frame"]["given"]): Promise<Requests["frame"]["answer"]> {
  live ??= new Live(ready());
  const start = performance.now(), image = timed("decode", () => frameOf(shot));
  shot.close();
  const found = await live.frame(image, seconds, { ...options, colour: null });
  [lastFrame, lastDirection] = [image, options.direction === "auto" ? "translate" : options.direction];
  const made = await timed("show", () => createImageBitmap(new ImageData(image.data as Uint8ClampedArray<ArrayBuffer>, image.width, image.height)));
  return { bitmap: made, faces: found.faces.length, milliseconds: performance.now() - start };
}

async function previewOf(image: Picture): Promise<ImageBitmap> {
  const { width, height } = image, scale = Math.min(1, PREVIEW / Math.max(width, height));
  const data = new ImageData(new Uint8ClampedArray(image.data.buffer as ArrayBuffer, image.data.byteOffset, image.data.length), width, height, {
    colorSpace: isDisplayP3(profile) ? "display-p3" : "srgb",
  });
  const resize = { resizeWidth: Math.max(1, Math.round(width * scale)), resizeHeight: Math.max(1, Math.round(height * scale)) };
  return createImageBitmap(data, scale < 1 ? { ...resize, resizeQuality: "medium" } : {});
}

const handlers: { [K in keyof Requests]: (given: Requests[K]["given"]) => Promise<Requests[K]["answer"]> } = {
  load,
  open,
  translate,
  close: async () => {
    [photo, profile, faces, result, done, doneFor] = [null, null, [], null, [], ""];
    return null;
  },
  frame: (given) => timed("frame", () => frame(given)),
  save: async ({ format }) => {
    if (!result) throw new PhotoError("There is no result yet.");
    return file(result, tag, profile, format);
  },
  snapshot: async ({ format }) => {
    if (!lastFrame) throw new PhotoError("The camera has shown nothing yet.");
    return file(lastFrame, lastDirection, null, format);
  },
  stopCamera: async () => {
    live = lastFrame = null;
    return null;
  },
  rest: async () => {
    for (const name of ALL) await ready().networks.load(name);
    return null;
  },
};

Object.assign(self, { stages }); // for benchmarks/bench_web.py

self.onmessage = async ({ data: { id, name, given } }: MessageEvent<{ id: number; name: keyof Requests; given: never }>) => {
  try {
    const answer = await (handlers[name] as (given: unknown) => Promise<unknown>)(given);
    const bitmaps = answer && typeof answer === "object" ? Object.values(answer).filter((value) => value instanceof ImageBitmap) : [];
    self.postMessage({ id, answer }, { transfer: bitmaps });
  } catch (error) {
    const known = error instanceof PhotoError;
    if (!known) console.error(error);
    self.postMessage({ id, error: known ? error.message : `Something went wrong: ${(error as Error).message ?? error}` });
  }
};
