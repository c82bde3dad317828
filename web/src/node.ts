/**
 * The same pipeline in Node, for tests and figures: `node build/node.mjs jobs.json`.
 *
 * A job names a file of raw RGB pixels with its size and the options; its result is written as raw RGB too, and a line
 * of JSON on standard output has the faces, the share that was replaced and the time. With `frames`, the file holds that
 * many pictures in sequence, treated as camera frames at `rate` per second.
 */

import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import type { Direction } from "./direction";
import { fastestBuild, startLiteRt } from "./litert";
import { Live } from "./live";
import { Rule } from "./masks/wear";
import { Networks } from "./networks";
import { compose, type Options, Pipeline } from "./pipeline";
import { stages, useClock } from "./stages";
import type { Picture } from "./vision/image";

interface Job extends Options {
  input: string;
  width: number;
  height: number;
  output: string;
  frames?: number;
  rate?: number;
}

async function main([jobsFile, models = path.resolve("models")]: string[]): Promise<void> {
  const read = async (name: string) => new Uint8Array(await readFile(path.join(models, path.basename(name))));
  await liteRt();
  useClock(() => process.cpuUsage().user / 1000 + process.cpuUsage().system / 1000);
  const networks = new Networks(read, 1);
  const pipeline = await Pipeline.load(networks, read, await Rule.load(read));
  for (const job of JSON.parse(await readFile(jobsFile, "utf8")) as Job[]) {
    for (const name of Object.keys(stages)) delete stages[name];
    const start = performance.now(), pixels = new Uint8ClampedArray(await readFile(job.input));
    const told = job.frames ? await film(pipeline, job, pixels) : await photo(pipeline, job, pixels);
    console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, stages, ...told }));
  }
}

/** LiteRT's script is for a worker that has importScripts. */
async function liteRt(): Promise<void> {
  const file = createRequire(import.meta.url).resolve(`@litertjs/core/wasm/${await fastestBuild(1)}.js`), script = await readFile(file, "utf8");
  const build = new Function("require", "__filename", "__dirname", `${script}; return ModuleFactory;`)(createRequire(file), file, path.dirname(file));
  Object.assign(globalThis, { self: globalThis, navigator: globalThis.navigator ?? {}, importScripts: () => Object.assign(globalThis, { ModuleFactory: build }) });
  await startLiteRt(file, new Uint8Array(await readFile(file.replace(/js$/, "wasm"))));
}

async function photo(pipeline: Pipeline, job: Job, data: Picture["data"]): Promise<object> {
  const photo: Picture = { data, width: job.width, height: job.height, channels: 3 };
  const faces = await pipeline.translate(photo, await pipeline.find(photo), job);
  const { image, pasted } = compose(photo, faces);
  await writeFile(job.output, image.data);
  return {
    faces: faces.map(({ face, direction, outcome, presence }) => ({ ...face, direction, outcome, presence })),
    pasted: pasted.map(({ left, top, width, height }) => ({ left, top, width, height })),
  };
}

/** Runs camera frames; the number of faces in each. */
async function film(pipeline: Pipeline, job: Job, data: Picture["data"]): Promise<object> {
  const live = new Live(pipeline), size = 3 * job.width * job.height, faces: number[] = [];
  const options = { direction: job.direction as Direction, style: job.style ?? "random", colour: job.colour ?? null, seed: job.seed ?? 0 };
  for (let i = 0; i < job.frames!; i++) {
    const frame: Picture = { data: data.subarray(i * size, (i + 1) * size), width: job.width, height: job.height, channels: 3 };
    faces.push((await live.frame(frame, i / job.rate!, options)).faces.length);
  }
  await writeFile(job.output, data);
  return { faces };
}

await main(process.argv.slice(2));
