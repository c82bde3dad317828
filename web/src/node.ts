/**
 * The same pipeline in Node, for tests and figures: `node build/node.mjs jobs.json`.
 *
 * A job names a file of raw RGB pixels with its size and the options; its result is written as raw RGB too, and a line
 * of JSON on standard output tells the faces, what was replaced and how long it took.
 */

import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import * as ort from "onnxruntime-web";
import { Rule } from "./masks/wear";
import { Networks } from "./networks";
import { compose, type Options, Pipeline } from "./pipeline";
import type { Picture } from "./vision/image";

interface Job extends Options {
  input: string;
  width: number;
  height: number;
  output: string;
}

async function main([jobsFile, models = path.resolve("models")]: string[]): Promise<void> {
  const read = async (name: string) => new Uint8Array(await readFile(path.join(models, path.basename(name))));
  ort.env.wasm.numThreads = Number(process.env.MASKHUB_WEB_THREADS ?? 2);
  ort.env.logLevel = "error";
  const networks = new Networks(ort, read);
  const pipeline = await Pipeline.load(networks, read, await Rule.load(read));
  for (const job of JSON.parse(await readFile(jobsFile, "utf8")) as Job[]) {
    const photo: Picture = { data: new Uint8ClampedArray(await readFile(job.input)), width: job.width, height: job.height, channels: 3 };
    const start = performance.now();
    const faces = await pipeline.translate(photo, await pipeline.find(photo), job);
    const { image, pasted } = compose(photo, faces);
    const seconds = (performance.now() - start) / 1000;
    await writeFile(job.output, image.data);
    console.log(JSON.stringify({
      seconds,
      faces: faces.map(({ face, direction, outcome, presence }) => ({ ...face, direction, outcome, presence })),
      pasted: pasted.map(({ left, top, width, height }) => ({ left, top, width, height })),
    }));
  }
}

await main(process.argv.slice(2));
process.exit(0); // onnxruntime's worker threads would keep it open
