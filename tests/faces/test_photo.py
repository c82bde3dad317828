"""Any input is opened upright and in RGB, or rejected with a one-line error."""

import io
import os
import struct
import zlib
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from maskhub import PhotoError, open_photo, read_provenance
from maskhub.data.batch import process_folder
from maskhub.faces.photo import rgb_profile, split_alpha
from maskhub.image_file import open_image


@pytest.fixture
def picture():
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    return Image.fromarray(np.stack(np.broadcast_arrays(ramp[None], ramp[:40, None], np.uint8(90)), -1))


def saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode_becomes_rgb(picture, mode):
    grey = mode in ("1", "L", "LA", "I", "F")
    out = open_photo(picture.convert("L").convert(mode) if grey else picture.convert(mode))
    assert out.size == (64, 40)
    assert out.mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")
    if mode not in ("1", "P"):  # these formats have too few colours to compare
        reference = picture.convert("L").convert("RGB") if grey else picture
        difference = np.abs(np.asarray(out.convert("RGB"), np.int16) - np.asarray(reference, np.int16))
        assert difference.mean() < 4


def test_16_bit_greyscale_is_scaled_not_clipped():
    values = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(40, 0)
    out = np.asarray(open_photo(saved(Image.fromarray(values), "PNG")))
    assert out[0, 32, 0] == pytest.approx(values[0, 32] / 257, abs=1)


def test_cmyk_jpeg_file(picture):
    out = open_photo(saved(picture.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(np.asarray(out, np.int16) - np.asarray(picture, np.int16)).mean() < 6


@pytest.mark.parametrize(("tag", "turn"), [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270)])
def test_exif_orientation_is_applied(picture, tag, turn):
    exif = Image.Exif()
    exif[0x0112] = tag
    out = open_photo(saved(picture, "PNG", exif=exif))
    assert np.array_equal(np.asarray(out), np.asarray(picture.transpose(turn)))


def test_the_first_frame_of_an_animation(picture):
    file = saved(picture, "GIF", save_all=True, append_images=[Image.new("RGB", picture.size, "red")])
    assert open_photo(file).size == picture.size


def test_transparency_is_kept_apart(picture):
    picture.putalpha(Image.new("L", picture.size, 77))
    rgb, alpha = split_alpha(open_photo(saved(picture, "PNG")))
    assert rgb.mode == "RGB"
    assert np.asarray(alpha).min() == 77


def test_arrays(picture):
    assert open_photo(np.asarray(picture)).size == picture.size
    for wrong in (np.zeros((20, 20, 3)), np.zeros((20, 20, 5), np.uint8), np.zeros(9, np.uint8)):
        with pytest.raises(PhotoError, match="array photo"):
            open_photo(wrong)


def png_header(width, height):
    """A PNG that declares a size but contains no pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(20_000, 20_000))
    with pytest.raises(PhotoError, match="megapixels"):
        open_photo(tmp_path / "bomb.png")


def test_a_text_file(tmp_path):
    (tmp_path / "note.jpg").write_text("not a photo")
    with pytest.raises(PhotoError, match="not a picture"):
        open_photo(tmp_path / "note.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_truncated_file(picture, kind, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8))
    data = saved(noise, kind).getvalue()
    (tmp_path / "cut.img").write_bytes(data[: len(data) // 2])
    with pytest.raises(PhotoError, match=r"damaged|can't be read|not a picture"):
        open_photo(tmp_path / "cut.img")


def test_one_pixel():
    with pytest.raises(PhotoError, match="too small"):
        open_photo(Image.new("RGB", (1, 1)))


def test_missing_and_folder(tmp_path):
    with pytest.raises(PhotoError, match="no file"):
        open_photo(tmp_path / "none.jpg")
    with pytest.raises(PhotoError, match="folder"):
        open_photo(tmp_path)


POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 64 64
%%EndComments
(RAN) = 0 0 64 64 rectfill showpage
%%EOF
"""


@pytest.fixture
def tool_folder(tmp_path, monkeypatch):
    """A PATH whose programs, including Ghostscript, create a file when started."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("gs", "gswin32c", "rsvg-convert"):
        (tools / name).write_text(f'#!/bin/sh\ntouch "{tools}/started"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return tools


@pytest.mark.parametrize("read", [open_photo, read_provenance, open_image])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.eps", "a.gif"])
def test_postscript_never_starts_ghostscript(read, name, tool_folder, tmp_path):
    (tmp_path / name).write_bytes(POSTSCRIPT)
    with pytest.raises((PhotoError, UnidentifiedImageError)):
        read(tmp_path / name)
    with pytest.raises((PhotoError, UnidentifiedImageError)):
        read(io.BytesIO(POSTSCRIPT))
    assert not (tool_folder / "started").exists()


def heic(picture, **options):
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(picture).save(file, format="HEIF", quality=95, **options)
    file.name, _ = "IMG_1.HEIC", file.seek(0)
    return file


def test_a_phones_photo_is_read(picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # which HEIF's readers ignore: the turn is in the container
    for file in (heic(picture), heic(picture, exif=exif), saved(picture, "AVIF", quality=95)):
        photo = open_photo(file)
        assert photo.mode == "RGB" and photo.size == picture.size
        assert np.abs(np.asarray(photo).astype(int) - np.asarray(picture)).mean() < 4
    turned = heic(picture.convert("RGBA"))
    assert open_photo(turned).mode == "RGBA"


def test_a_phones_photo_without_the_codec_is_one_line(picture, monkeypatch):
    file = heic(picture)
    monkeypatch.setattr("maskhub.image_file.installed", lambda name: False)
    with pytest.raises(PhotoError, match=r"IMG_1.HEIC is a HEIC photo: pip install 'maskhub\[heif\]' to read it"):
        open_photo(file)
    monkeypatch.setattr("maskhub.image_file.FORMATS", ("JPEG", "PNG"))
    with pytest.raises(PhotoError, match=r"is an AVIF photo, which this build .* pip install --force-reinstall"):
        open_photo(saved(picture, "AVIF"))


@pytest.mark.parametrize("cut", [20, 300, -60])
def test_a_broken_phones_photo_is_one_line(picture, cut):
    broken = io.BytesIO(heic(picture).getvalue()[:cut])
    with pytest.raises(PhotoError, match=r"not a picture that can be read|damaged or cut short"):
        open_photo(broken)


@pytest.mark.parametrize("kind", ["TGA", "PPM", "ICO", "PCX", "SGI", "JPEG2000", "DDS"])
def test_other_formats_are_refused(picture, kind):
    with pytest.raises(PhotoError, match="not a picture that can be read"):
        open_photo(saved(picture, kind))


def test_devices_and_pipes_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(PhotoError, match="a device or pipe, not a photo"):
            open_photo(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_as_pillow_turns_it_and_only_once(picture, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(picture, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(file) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    upright = open_photo(file)
    assert np.array_equal(np.asarray(upright), expected)
    assert np.array_equal(np.asarray(open_photo(upright)), expected)


def exif_with(tag, kind, count, value, orientation=6):
    """EXIF with an orientation and one given entry, valid or not."""
    entries = sorted([(0x0112, 3, 1, struct.pack("<HH", orientation, 0)), (tag, kind, count, value)])
    directory = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4)


MALFORMED = {
    "ResolutionUnit as text": (0x0128, 2, 3, b"ab\0\0"),
    "ResolutionUnit without a value": (0x0128, 3, 0, bytes(4)),
    "ResolutionUnit twice": (0x0128, 3, 2, bytes([2, 0, 2, 0])),
    "XResolution beyond the end": (0x011A, 5, 1, struct.pack("<I", 9999)),
    "XResolution by zero": (0x011A, 5, 1, struct.pack("<I", 8)),
    "Software as a double": (0x0131, 12, 1, struct.pack("<I", 8)),
    "a pointer to itself": (0x8769, 4, 1, struct.pack("<I", 8)),
    "a pointer as text": (0x8769, 2, 4, b"abc\0"),
    "an unknown type": (0x0128, 99, 1, bytes(4)),
}


@pytest.mark.parametrize("entry", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_one_malformed_tag_still_gives_an_upright_photo(picture, kind, entry):
    options = {"lossless": True} if kind == "WEBP" else {}
    out = open_photo(saved(picture, kind, exif=exif_with(*entry), **options))
    assert out.size == (40, 64)
    if kind != "JPEG":
        assert np.array_equal(np.asarray(out), np.asarray(picture.transpose(Image.Transpose.ROTATE_270)))


def test_an_orientation_that_is_none_turns_nothing(picture):
    for orientation in (0, 9, 65535):
        assert open_photo(saved(picture, "PNG", exif=exif_with(0x0128, 3, 1, bytes(4), orientation))).size == (64, 40)
    assert open_photo(saved(picture, "PNG", exif=b"Exif\0\0nonsense")).size == (64, 40)


def test_a_batch_goes_on_after_photos_with_malformed_tags(picture, tmp_path):
    for number, entry in enumerate(MALFORMED.values()):
        picture.save(tmp_path / f"{number}.jpg", exif=exif_with(*entry))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photo")
    report = process_folder(tmp_path, tmp_path / "out", lambda path: open_photo(path), progress=False)
    assert report.made == len(MALFORMED)
    assert [name for name, _ in report.failures] == ["bad.jpg"]


def test_whatever_a_decoder_raises_is_a_photo_error(picture, tmp_path, monkeypatch):
    picture.save(tmp_path / "a.png")
    for error in (struct.error("bad"), TypeError("worse"), IndexError(), ZeroDivisionError("zero"), MemoryError()):
        with monkeypatch.context() as patch, pytest.raises(PhotoError, match="damaged or cut short"):
            patch.setattr("PIL.PngImagePlugin.PngImageFile.load", Mock(side_effect=error))
            open_photo(tmp_path / "a.png")
        with monkeypatch.context() as patch, pytest.raises(PhotoError, match="picture"):
            patch.setattr("PIL.PngImagePlugin.PngImageFile._open", Mock(side_effect=error))
            open_photo(tmp_path / "a.png")


def text_chunks(size):
    """PNG save options that write ``size`` characters of each kind of text."""
    letters = "x" * size
    plain, packed, xmp = (PngImagePlugin.PngInfo() for _ in range(3))
    plain.add_text("prompt", letters)
    packed.add_text("prompt", letters, zip=True)
    xmp.add_itxt("XML:com.adobe.xmp", letters, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(size)
    return {
        "text": {"pnginfo": plain},
        "packed": {"pnginfo": packed},
        "XMP": {"pnginfo": xmp},
        "ICC": {"icc_profile": profile},
    }


@pytest.mark.parametrize("what", ["text", "packed", "XMP", "ICC"])
def test_a_png_with_megabytes_besides_its_pixels_is_read(picture, what):
    out = open_photo(saved(picture, "PNG", **text_chunks(3_000_000)[what]))
    assert np.array_equal(np.asarray(out), np.asarray(picture))
    if what == "ICC":
        assert len(rgb_profile(out)) > 3_000_000


def test_text_that_unpacks_to_a_bomb_is_refused(picture):
    with pytest.raises(PhotoError, match=r"damaged|can't be read"):
        open_photo(saved(picture, "PNG", **text_chunks(100_000_000)["packed"]))


@pytest.mark.parametrize(
    "source", [b"\xff\xd8", None, 5, (photo for photo in ())], ids=["bytes", "None", "int", "generator"]
)
def test_what_is_no_photo_at_all_is_said(source):
    kind = type(source).__name__
    with pytest.raises(PhotoError, match=rf"a photo must be a path, a file object, .* not {kind}\."):
        open_photo(source)
