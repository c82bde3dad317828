/**
 * Build the site into dist/: `npm run build`. The pipeline's files come from `python export.py` where they are not
 * there yet (PYTHON names the interpreter, "python" by default); delete models/ to make them again.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

process.chdir(path.dirname(fileURLToPath(import.meta.url)));
const ORT = "node_modules/onnxruntime-web/dist", LITERT = "node_modules/@litertjs/core/wasm";
const WEBGPU = "ort-wasm-simd-threaded.asyncify", BUILDS = ["threaded_internal", "internal", "compat_internal"];
const SHARED = { bundle: true, format: "esm", target: "es2022", logLevel: "warning", legalComments: "none" };

if (!existsSync("models/pipeline.json")) execFileSync(process.env.PYTHON ?? "python", ["export.py"], { stdio: "inherit" });

await esbuild.build({ ...SHARED, entryPoints: ["src/node.ts"], platform: "node", external: ["@litertjs/core"], outfile: "build/node.mjs" });
if (!process.argv.includes("--node")) await site();

async function site() {
  rmSync("dist", { recursive: true, force: true });
  for (const folder of ["dist/models", "dist/ort", "dist/litert"]) mkdirSync(folder, { recursive: true });
  await esbuild.build({ ...SHARED, minify: true, entryPoints: { main: "src/page/main.ts", camera: "src/camera.ts" }, outdir: "dist" });
  await esbuild.build({ ...SHARED, minify: true, format: "iife", entryPoints: { worker: "src/worker.ts" }, outdir: "dist" }); // LiteRT needs importScripts
  await esbuild.build({ ...SHARED, minify: true, stdin: { contents: 'export * from "onnxruntime-web/webgpu";', resolveDir: "." }, outfile: "dist/ort/ort.webgpu.mjs" });
  for (const name of ["index.html", "style.css", "icon.svg"]) cpSync(`src/page/${name}`, `dist/${name}`);
  cpSync("examples", "dist/examples", { recursive: true });
  cpSync("space.md", "dist/README.md");
  cpSync("../maskhub/faces/weights/LICENSES.md", "dist/LICENSES.md");
  cpSync(`${ORT}/${WEBGPU}.mjs`, `dist/ort/${WEBGPU}.mjs`);
  pack(`${ORT}/${WEBGPU}.wasm`, `dist/ort/${WEBGPU}.wasm.gz`);
  for (const build of BUILDS) {
    const name = `litert_wasm_${build}`, script = readFileSync(`${LITERT}/${name}.js`, "utf8");
    writeFileSync(`dist/litert/${name}.js`, (await esbuild.transform(script, { minify: true, legalComments: "none" })).code);
    pack(`${LITERT}/${name}.wasm`, `dist/litert/${name}.wasm.gz`);
  }
  for (const name of readdirSync("models")) pack(`models/${name}`, `dist/models/${name}.gz`);
  const shell = ["./", "index.html", "main.js", "style.css", "icon.svg"];
  const define = { CACHE: JSON.stringify(`maskhub-${fingerprint("dist")}`), SHELL: JSON.stringify(shell) };
  await esbuild.build({ ...SHARED, minify: true, entryPoints: { sw: "src/sw.ts" }, outdir: "dist", define });
  const first = files("dist").filter((name) => !/ort\/|\.onnx|_wasm_internal|compat|README|LICENSES|camera/.test(name)).reduce((sum, name) => sum + compressed(name), 0);
  console.log(`dist/ is ready: ${(first / 1e6).toFixed(2)} MB to load at first, compressed`);
}

/** GZIP_LEVEL=1 saves ten seconds if the size does not matter, as in the tests. */
function pack(from, to) {
  writeFileSync(to, gzipSync(readFileSync(from), { level: Number(process.env.GZIP_LEVEL ?? 9) }));
}

function compressed(name) {
  return name.endsWith(".gz") ? statSync(name).size : gzipSync(readFileSync(name)).length;
}

function files(folder) {
  return readdirSync(folder, { recursive: true }).map((name) => path.join(folder, name)).filter((name) => statSync(name).isFile()).sort();
}

/** A hash of all files: the service worker keeps its cache until one of them changes. */
function fingerprint(folder) {
  const hash = createHash("sha256");
  for (const name of files(folder)) hash.update(name).update(readFileSync(name));
  return hash.digest("hex").slice(0, 12);
}
