/** Encodes pictures with their tag: PNG by our own encoder, since a canvas may change pixels, and JPEG. */

import { packed } from "./packed";
import { asText, type Tag, xmp } from "./provenance";
import type { Picture } from "./vision/image";

const text = new TextEncoder();
const latin = (words: string): Uint8Array => Uint8Array.from(words, (c) => c.charCodeAt(0) & 0xff);

/** A PNG of the picture: RGB, or RGBA if it has transparent pixels. */
export async function encodePng(picture: Picture, tag: Tag, profile: Uint8Array | null): Promise<Blob> {
  const { width, height } = picture, channels = picture.channels === 4 && transparent(picture) ? 4 : 3;
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, channels === 4 ? 6 : 2, 0, 0, 0], 8);
  const pixels = await packed(filtered(picture, channels), new CompressionStream("deflate"));
  const colours = profile ? [chunk("iCCP", joined(latin("ICC profile\0\0"), await packed(profile, new CompressionStream("deflate"))))] : [];
  return new Blob([
    new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", header), ...colours,
    chunk("tEXt", latin(`Software\0${tag.software}`)), chunk("iTXt", international("Description", asText(tag))),
    chunk("iTXt", international("XML:com.adobe.xmp", xmp(tag))), chunk("IDAT", pixels), chunk("IEND", new Uint8Array()),
  ] as BlobPart[], { type: "image/png" });
}

/** A JPEG of the picture, transparent pixels on white. */
export async function encodeJpeg(picture: Picture, tag: Tag, profile: Uint8Array | null, quality = 0.95): Promise<Blob> {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { alpha: false }) as OffscreenCanvasRenderingContext2D;
  const bitmap = await createImageBitmap(new ImageData(picture.data as Uint8ClampedArray<ArrayBuffer>, picture.width, picture.height));
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const plain = new Uint8Array(await (await canvas.convertToBlob({ type: "image/jpeg", quality })).arrayBuffer());
  const packet = segment(0xe1, latin("http://ns.adobe.com/xap/1.0/\0"), text.encode(xmp(tag)));
  const at = 4 + ((plain[4] << 8) | plain[5]); // after the JFIF segment
  const added = [segment(0xe1, exif(tag)), packet, ...(profile ? profileSegments(profile) : [])];
  return new Blob([plain.subarray(0, at), ...added, plain.subarray(at)] as BlobPart[], { type: "image/jpeg" });
}

export function transparent({ data }: Picture): boolean {
  for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
  return false;
}

/** Rows with PNG's Paeth filter, the best single one for photos. */
function filtered({ data, width, height, channels: from }: Picture, channels: number): Uint8Array {
  const stride = width * channels, out = new Uint8Array((stride + 1) * height);
  let above = new Uint8Array(stride), row = new Uint8Array(stride);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let k = 0; k < channels; k++) row[x * channels + k] = data[(y * width + x) * from + k];
    out[at++] = 4;
    for (let i = 0; i < stride; i++) {
      const left = i >= channels ? row[i - channels] : 0, up = above[i], corner = i >= channels ? above[i - channels] : 0;
      const toLeft = Math.abs(up - corner), toUp = Math.abs(left - corner), toCorner = Math.abs(left + up - 2 * corner);
      out[at++] = row[i] - (toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner);
    }
    [above, row] = [row, above];
  }
  return out;
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(name: string, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length + 12), view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  out.set(latin(name), 4);
  out.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < data.length + 8; i++) crc = CRC[(crc ^ out[i]) & 255] ^ (crc >>> 8);
  view.setUint32(data.length + 8, ~crc);
  return out;
}

/** Content of an iTXt chunk: a key and uncompressed UTF-8 text. */
function international(key: string, words: string): Uint8Array {
  return joined(latin(`${key}\0\0\0\0\0`), text.encode(words));
}

function segment(marker: number, ...parts: Uint8Array[]): Uint8Array {
  const data = joined(...parts), length = data.length + 2;
  return joined(Uint8Array.of(0xff, marker, length >> 8, length & 255), data);
}

/** A colour profile in as many segments as it needs. */
function profileSegments(profile: Uint8Array): Uint8Array[] {
  const most = 65_000, count = Math.ceil(profile.length / most);
  return Array.from({ length: count }, (_, i) => {
    return segment(0xe2, latin("ICC_PROFILE\0"), Uint8Array.of(i + 1, count), profile.subarray(i * most, (i + 1) * most));
  });
}

/** EXIF with the two fields that simple viewers show. */
function exif(tag: Tag): Uint8Array {
  const fields: [number, Uint8Array][] = [[0x010e, latin(`${asText(tag)}\0`)], [0x0131, latin(`${tag.software}\0`)]];
  let offset = 8 + 2 + 12 * fields.length + 4;
  const directory = new Uint8Array(offset), view = new DataView(directory.buffer);
  directory.set([0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, fields.length]);
  fields.forEach(([code, data], i) => {
    const at = 10 + 12 * i;
    view.setUint16(at, code);
    view.setUint16(at + 2, 2);
    view.setUint32(at + 4, data.length);
    view.setUint32(at + 8, offset);
    offset += data.length;
  });
  return joined(latin("Exif\0\0"), directory, ...fields.map(([, data]) => data));
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
