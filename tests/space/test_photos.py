"""Uploads whose first picture can be read, and nothing else of them."""

import io

import pytest
from PIL import Image

from maskhub.faces.photo import open_photo
from space import photos


@pytest.fixture(autouse=True)
def uploads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_malformed_metadata_of_a_photo_is_ignored(astronaut, tmp_path, kind):
    path = tmp_path / f"photo.{kind.lower()}"
    astronaut.save(path, kind, exif=b"Exif\0\0no tags at all")
    assert photos.viewable(str(path), open_photo(path)) == str(path)


def test_an_animation_that_is_cut_short_shows_its_first_picture(astronaut, tmp_path):
    small, file = astronaut.resize((64, 64)), io.BytesIO()
    small.save(file, "GIF", save_all=True, append_images=[small.rotate(angle) for angle in (5, 10, 15)])
    whole, path, told = file.getvalue(), tmp_path / "cut.gif", set()
    for length in range(len(whole) // 3, len(whole), 41):
        path.write_bytes(whole[:length])
        photo = open_photo(path)
        told |= set(photos.moving(path))
        with Image.open(photos.viewable(str(path), photo)) as shown:
            assert shown.format == "PNG" and shown.tobytes() == photo.tobytes()
    assert "This is an animation, and damaged: only its first picture is used." in told
