/** Opens photos upright, with exactly the pixel values of the file. */

import { transparent } from "./files";
import type { Shot } from "./protocol";
import type { Picture } from "./vision/image";

const MAX_PIXELS = 50_000_000, MIN_SIDE = 16;

/** An error with a message for the visitor. */
export class PhotoError extends Error {}

export async function decode(file: Blob, name = "The photo"): Promise<Picture> {
  if (/\.(heic|heif)$/i.test(name) && !(await opens(file))) {
    throw new PhotoError("This browser can't open HEIC photos (Safari can). Export it as JPEG or PNG first.");
  }
  let bitmap: ImageBitmap;
  try {
    // turned by its orientation tag, without converting colours
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", premultiplyAlpha: "none", colorSpaceConversion: "none" });
  } catch {
    throw new PhotoError(`${name} is not a picture that this browser can open (JPEG, PNG, WebP, AVIF or GIF).`);
  }
  const { width, height } = bitmap;
  if (width * height > MAX_PIXELS) {
    throw new PhotoError(`${name} is ${width}×${height}: over ${MAX_PIXELS / 1e6} megapixels. Scale it down first.`);
  }
  if (Math.min(width, height) < MIN_SIDE) throw new PhotoError(`${name} is ${width}×${height}: too small to hold a face.`);
  const photo = pixelsOf(bitmap);
  if (transparent(photo)) photo.data = straight(bitmap) ?? photo.data;
  bitmap.close();
  return photo;
}

/** The pixels of a bitmap; a canvas would lose some bits of transparent ones. */
function pixelsOf(bitmap: ImageBitmap): Picture {
  return drawn(bitmap, contextOf(new OffscreenCanvas(bitmap.width, bitmap.height)));
}

const screen = contextOf(new OffscreenCanvas(1, 1));

/** The pixels of a camera's frame. */
export function frameOf(shot: Shot): Picture {
  const width = "displayWidth" in shot ? shot.displayWidth : shot.width, height = "displayHeight" in shot ? shot.displayHeight : shot.height;
  if (screen.canvas.width !== width || screen.canvas.height !== height) Object.assign(screen.canvas, { width, height });
  return drawn(shot, screen);
}

function contextOf(canvas: OffscreenCanvas): OffscreenCanvasRenderingContext2D {
  return canvas.getContext("2d", { willReadFrequently: true }) as OffscreenCanvasRenderingContext2D;
}

function drawn(image: Shot, context: OffscreenCanvasRenderingContext2D): Picture {
  const { width, height } = context.canvas;
  context.drawImage(image, 0, 0);
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

/** The pixels by WebGL, which does not premultiply alpha; null if WebGL is missing or its textures are too small. */
function straight(bitmap: ImageBitmap): Uint8ClampedArray | null {
  const { width, height } = bitmap, gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl || Math.max(width, height) > gl.getParameter(gl.MAX_TEXTURE_SIZE)) return null;
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const out = new Uint8ClampedArray(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, out);
  return gl.getError() === gl.NO_ERROR ? out : null;
}

async function opens(file: Blob): Promise<boolean> {
  try {
    (await createImageBitmap(file)).close();
    return true;
  } catch {
    return false;
  }
}
