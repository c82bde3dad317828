"""Photos of every format that is read, with orientation, colour profile, text, transparency and several frames."""

import io
import warnings

import numpy as np
import pillow_heif
from fuzzing import fuzz
from PIL import Image, ImageCms, PngImagePlugin

from maskhub.faces.photo import open_photo, rgb_profile, split_alpha
from maskhub.provenance import Provenance, mark, read_provenance


def inputs():
    pillow_heif.register_heif_opener()
    ramp = np.linspace(0, 255, 48, dtype=np.uint8)
    picture = Image.fromarray(np.stack(np.broadcast_arrays(ramp[None], ramp[:40, None], np.uint8(90)), -1))
    exif = Image.Exif()
    exif[0x0112], exif[0x0131], exif[0x011A] = 6, "camera", 72.0
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 200, zip=True)
    text.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3"/>')
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames = {"save_all": True, "append_images": [Image.new("RGB", picture.size, "red")]}
    alpha = picture.copy()
    alpha.putalpha(99)
    marked = mark(picture.copy(), Provenance("mask", "rule"))
    wide = Image.fromarray(np.linspace(0, 65535, 48, dtype=np.uint16)[None].repeat(40, 0))
    saved = {
        "exif.jpg": (picture, "JPEG", {"exif": exif, "icc_profile": profile}),
        "progressive.jpg": (picture.convert("L"), "JPEG", {"progressive": True}),
        "cmyk.jpg": (picture.convert("CMYK"), "JPEG", {}),
        "marked.jpg": (marked, "JPEG", {}),
        "text.png": (picture, "PNG", {"pnginfo": text, "exif": exif, "icc_profile": profile}),
        "palette.png": (picture.convert("P"), "PNG", {"transparency": 3}),
        "wide.png": (wide, "PNG", {}),
        "alpha.png": (alpha, "PNG", {}),
        "lossy.webp": (alpha, "WEBP", {"exif": exif}),
        "lossless.webp": (picture, "WEBP", {"lossless": True, **frames}),
        "a.bmp": (picture, "BMP", {}),
        "b.bmp": (picture.convert("P"), "BMP", {}),
        "plain.tif": (picture, "TIFF", {"exif": exif}),
        "lzw.tif": (wide, "TIFF", {"compression": "tiff_lzw"}),
        "jpeg.tif": (picture, "TIFF", {"compression": "jpeg"}),
        "a.gif": (picture, "GIF", {**frames, "comment": b"hello"}),
        "turned.heic": (picture, "HEIF", {"exif": exif, "quality": 50}),
        "alpha.heic": (alpha, "HEIF", frames),
        "turned.avif": (picture, "AVIF", {"exif": exif, "quality": 50}),
        "alpha.avif": (alpha, "AVIF", {"save_all": True, "append_images": [alpha.rotate(180)]}),
    }
    made = {}
    for name, (image, kind, options) in saved.items():
        file = io.BytesIO()
        image.save(file, kind, **options)
        made[name] = file.getvalue()
    return made


def read(name, data):
    photo = open_photo(io.BytesIO(data))
    assert photo.mode in ("RGB", "RGBA")
    np.asarray(split_alpha(photo)[0])
    rgb_profile(photo)
    read_provenance(io.BytesIO(data))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    fuzz(inputs(), read)
