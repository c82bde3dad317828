"""Whatever a person brings is opened upright and in RGB, or refused in one line."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from maskhub import PhotoError, open_photo
from maskhub.faces.photo import split_alpha


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
    if mode not in ("1", "P"):  # these hold too few colours to compare
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
    """A PNG that claims a size and holds no pixels."""

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
