/** Colour profiles of JPEG, PNG and WebP files, so that a result keeps that of its photo. */

import { packed } from "./packed";

/** The RGB profile of a file, or null. */
export async function profileOf(file: Blob): Promise<Uint8Array | null> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    const found = bytes[0] === 0xff ? ofJpeg(bytes) : bytes[0] === 0x89 ? await ofPng(bytes) : ascii(bytes, 0, 4) === "RIFF" ? ofWebp(bytes) : null;
    return found && ascii(found, 16, 4) === "RGB " ? found : null; // a CMYK or grey profile does not apply to the RGB result
  } catch {
    return null; // truncated
  }
}

/** Whether it is Display P3, the wide colours of most phones' cameras. */
export function isDisplayP3(profile: Uint8Array | null): boolean {
  if (!profile) return false;
  const words = ascii(profile, 0, profile.length).replaceAll("\0", "");
  return words.includes("Display P3");
}

function ascii(bytes: Uint8Array, at: number, length: number): string {
  let out = "";
  for (const code of bytes.subarray(at, at + length)) out += String.fromCharCode(code);
  return out;
}

function ofJpeg(bytes: Uint8Array): Uint8Array | null {
  const parts: Uint8Array[] = [];
  for (let at = 2; at + 4 < bytes.length && bytes[at] === 0xff && bytes[at + 1] !== 0xda;) {
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    if (bytes[at + 1] === 0xe2 && ascii(bytes, at + 4, 11) === "ICC_PROFILE") parts[bytes[at + 16]] = bytes.subarray(at + 18, at + 2 + length);
    at += 2 + length;
  }
  const all = parts.filter(Boolean).flatMap((part) => [...part]);
  return all.length ? Uint8Array.from(all) : null;
}

async function ofPng(bytes: Uint8Array): Promise<Uint8Array | null> {
  const view = new DataView(bytes.buffer);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at), name = ascii(bytes, at + 4, 4), data = bytes.subarray(at + 8, at + 8 + length);
    if (name === "iCCP") return packed(data.subarray(data.indexOf(0) + 2), new DecompressionStream("deflate"));
    if (name === "IDAT") return null;
    at += 12 + length;
  }
  return null;
}

function ofWebp(bytes: Uint8Array): Uint8Array | null {
  const view = new DataView(bytes.buffer);
  for (let at = 12; at + 8 <= bytes.length;) {
    const length = view.getUint32(at + 4, true);
    if (ascii(bytes, at, 4) === "ICCP") return bytes.slice(at + 8, at + 8 + length);
    at += 8 + length + (length & 1);
  }
  return null;
}
