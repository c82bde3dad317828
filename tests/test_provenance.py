"""Every picture that is written says where it comes from, and nothing of where its photo was taken."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from maskhub import ConfigError, FaceMaskPipeline, PhotoError, Provenance, VideoError, read_provenance
from maskhub.cli import main
from maskhub.data.batch import save_photo
from maskhub.pipelines.outline import outline
from maskhub.provenance import INVENTED, RULE, mark

TAG = Provenance("unmask", model="user/<model> \"a\" & 'b' →")
FORMATS = ["png", "jpg", "webp", "tif", "gif"]


@pytest.fixture
def picture():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", FORMATS)
def test_pillows_own_save_keeps_it(picture, tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    mark(picture, TAG).save(path)
    assert read_provenance(path) == TAG
    assert TAG.note == INVENTED
    with Image.open(path) as again:
        assert read_provenance(again) == TAG
        assert again.size == (40, 48)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp"])
def test_save_photo_keeps_it_with_transparency_too(picture, tmp_path, suffix):
    picture.putalpha(128)
    save_photo(mark(picture, TAG), tmp_path / f"a.{suffix}")
    # BMP has no room for any
    assert read_provenance(tmp_path / f"a.{suffix}") == (None if suffix == "bmp" else TAG)


def test_what_is_derived_keeps_it_and_options_win(picture):
    file = io.BytesIO()
    mark(picture, TAG).resize((20, 20)).convert("L").save(file, "JPEG", quality=50)
    assert read_provenance(file) == TAG
    bare = io.BytesIO()
    mark(picture, TAG).save(bare, "JPEG", exif=b"", xmp=b"")
    assert read_provenance(bare) is None
    assert mark(picture, None) is picture


def test_viewers_see_it(picture, tmp_path):
    mark(picture, TAG).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        exif = image.getexif()
        assert exif[0x0131].startswith("maskhub ")
        assert "not evidence" in exif[0x010E]
        assert b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in image.info["xmp"]
    mark(picture, Provenance("mask", RULE)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["Software"].startswith("maskhub ")
        assert "a mask that software put on" in image.text["Description"]
        assert b"digitalsourcetype/compositeSynthetic" in image.info["xmp"]


def test_strangers_metadata_is_no_tag(picture, tmp_path):
    for number, xmp in enumerate((b"<x>urn:maskhub:provenance#", b"<!DOCTYPE a>urn:maskhub:provenance#", b"\xff\x00")):
        picture.save(tmp_path / f"{number}.jpg", xmp=xmp, comment=b'{"software": "maskhub 9"}')
        assert read_provenance(tmp_path / f"{number}.jpg") is None
    picture.save(tmp_path / "c.jpg", comment=b"[1]")
    assert read_provenance(tmp_path / "c.jpg") is None
    with pytest.raises(ConfigError, match="direction"):
        Provenance("sideways", "a")
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "none.png"):
        with pytest.raises(PhotoError, match="can't be read"):
            read_provenance(tmp_path / name)


def placed(photo, path):
    """Save a photo as a camera would: turned, with its place, a comment and a profile."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    options = {"exif": exif, "icc_profile": profile, "xmp": b"<x:xmpmeta>secret place</x:xmpmeta>"}
    photo.transpose(Image.Transpose.ROTATE_90).save(path, **options, comment=b"secret", quality=95)
    return profile


def test_the_pipeline_tags_what_it_changed(tiny_pipeline, astronaut, masked_astronaut, tmp_path):
    profile = placed(masked_astronaut, tmp_path / "photo.jpg")
    tiny_pipeline.unmask(tmp_path / "photo.jpg").save(tmp_path / "out.jpg")
    assert read_provenance(tmp_path / "out.jpg") == Provenance("unmask", "unnamed")
    data = (tmp_path / "out.jpg").read_bytes()
    assert b"secret" not in data
    assert b"Camera" not in data
    with Image.open(tmp_path / "out.jpg") as image:
        assert not image.getexif().get_ifd(0x8825)
        assert image.getexif().get(0x0112) is None
        assert image.size == astronaut.size
        assert image.info["icc_profile"] == profile
    out = tiny_pipeline.cycle(astronaut, details=True)
    assert read_provenance(out.images[0]).direction == "cycle"
    assert read_provenance(out.there[0]).direction == "mask"
    assert read_provenance(outline(out.images[0], out.regions[0])).direction == "cycle"
    assert read_provenance(tiny_pipeline.mask(astronaut, provenance=False)) is None
    blank = Image.new("RGB", (100, 100))
    assert read_provenance(tiny_pipeline.mask(blank, on_no_face="keep")) is None


def test_a_folder_gives_its_own_name_alone(tiny_pipeline, tmp_path):
    folder = tmp_path / "run" / "pipeline"
    tiny_pipeline.save_pretrained(folder)
    assert FaceMaskPipeline.from_pretrained(folder).provenance("mask").model == "run"


def test_on_the_command_line(tiny_pipeline, astronaut, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    placed(astronaut, tmp_path / "in.jpg")
    model = ["--model", str(tmp_path / "model")]

    def tag_of(command, *options):
        with pytest.raises(SystemExit) as stop:
            main([command, str(tmp_path / "in.jpg"), str(tmp_path / "out.jpg"), *options])
        assert stop.value.code == 0
        assert b"secret" not in (tmp_path / "out.jpg").read_bytes()
        return read_provenance(tmp_path / "out.jpg")

    assert tag_of("mask") == Provenance("mask", RULE)
    assert tag_of("mask", *model) == Provenance("mask", "model")
    assert tag_of("unmask", *model, "--force") == Provenance("unmask", "model")
    assert tag_of("unmask", *model) is None  # the photo as it was
    assert tag_of("translate", *model) == Provenance("translate", "model")
    assert tag_of("cycle", *model) == Provenance("cycle", "model")
    for command, options in (("mask", []), ("unmask", [*model, "--force"]), ("cycle", model)):
        assert tag_of(command, *options, "--no-provenance") is None


def test_a_films_tags(tmp_path):
    av = pytest.importorskip("av")
    for name, tag in (("a.mp4", TAG), ("b.mp4", None)):
        with av.open(str(tmp_path / name), "w") as container:
            container.metadata.update(tag.video_metadata() if tag else {"comment": "holidays"})
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            for packet in [*stream.encode(frame), *stream.encode()]:
                container.mux(packet)
        assert read_provenance(tmp_path / name) == tag
    (tmp_path / "c.mp4").write_text("no film")
    with pytest.raises(VideoError, match="as a film"):
        read_provenance(tmp_path / "c.mp4")
