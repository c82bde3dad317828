/** Loads LiteRT, which computes the networks in WASM, into a classic worker or Node. */

import { loadLiteRt, supportsFeature } from "@litertjs/core";

/** The name of the fastest build that runs here: with relaxed SIMD and, where memory can be shared, with threads. */
export async function fastestBuild(threads: number): Promise<string> {
  if (!(await supportsFeature("relaxedSimd"))) return "litert_wasm_compat_internal";
  return threads > 1 ? "litert_wasm_threaded_internal" : "litert_wasm_internal";
}

/**
 * Load a build.
 *
 * @param script the address of its JavaScript
 * @param binary its WASM
 */
export async function startLiteRt(script: string, binary: Uint8Array): Promise<void> {
  const complain = (text: string): void => {
    if (text.startsWith("ERROR")) console.error(text); // the rest only tells what it does
  };
  Object.assign(globalThis, { Module: { wasmBinary: binary, mainScriptUrlOrBlob: script, print: complain, printErr: complain } });
  // it would ask for a GPU, which it does not need, and complain without one
  const gpu = { requestAdapter: async () => ({ limits: {}, features: new Set(), requestDevice: async () => null }) };
  Object.defineProperty(navigator, "gpu", { value: gpu, configurable: true });
  await loadLiteRt(script);
  delete (navigator as { gpu?: unknown }).gpu; // what the browser has reappears
}
