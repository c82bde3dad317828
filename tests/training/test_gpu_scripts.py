"""Packing for a rented machine: what travels comes out as it went in, and held-out photos stay at home."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from maskhub.data.face_cache import FaceCache, find_face
from maskhub.data.folder import is_held_out
from maskhub.errors import MaskHubError

GPU = Path(__file__).parents[2] / "train_scripts" / "gpu"


@pytest.fixture
def scripts(monkeypatch):
    """The modules pack, unpack and collect."""
    monkeypatch.syspath_prepend(str(GPU))
    import collect
    import pack
    import unpack

    return pack, unpack, collect


@pytest.fixture
def folders(astronaut, tmp_path):
    """Four photos of a face, turned in the picture's plane, of which one is held out, and one is a copy of a held-out
    one; two masked; and weights."""
    held_out = next(name for name in (f"{n}.png" for n in range(99)) if is_held_out(name))
    for folder, names in (("bare", ("a.png", "b.png", held_out, "copy.png")), ("masked", ("c.png", "d.png"))):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            astronaut.crop((120, 20, 330, 230)).rotate(8 * number).save(tmp_path / folder / name)
    (tmp_path / "bare" / "metadata.csv").write_text(
        f"file_name,source,original_name\na.png,mine,\nb.png,test,\ncopy.png,mine,{held_out}\n"
    )
    rng = np.random.default_rng(0)
    weights = {"features.0.weight": rng.normal(size=(4, 3, 3, 3)), "features.2.weight": rng.normal(size=(8, 4, 3, 3)),
               "lin0.weight": rng.random((1, 8, 1, 1))}  # fmt: skip
    (tmp_path / "weights").mkdir()
    for name in ("vgg16_lpips", "mobilefacenet"):
        save_file({k: v.astype(np.float16) for k, v in weights.items()}, tmp_path / "weights" / f"{name}.safetensors")
    return tmp_path


def test_what_is_packed_is_unpacked(scripts, folders):
    pack, unpack, _ = scripts
    pack.main(pack.Options([folders / "bare"], [folders / "masked"], folders / "weights", folders / "packed",
                           leave_out=["test"], part_mib=0.01, workers=1))  # fmt: skip
    parts = sorted((folders / "packed").glob("part-*.zip"))
    assert len(parts) > 1
    unpack.main(unpack.Options(folders / "packed", folders / "data", workers=1))
    data = folders / "data"
    assert [p.name for p in (data / "unmasked").glob("*.bmp")] == ["bare_a.bmp"]  # b is of a test set
    assert sorted(p.name for p in (data / "masked").iterdir()) == ["masked_c.bmp", "masked_d.bmp"]
    pixels = np.asarray(Image.open(data / "unmasked" / "bare_a.bmp"))
    before = np.asarray(Image.open(folders / "bare" / "a.png").convert("RGB"))
    assert np.abs(pixels.astype(float) - before).mean() < 5
    cache = FaceCache(data / "unmasked" / ".maskhub" / "faces.sqlite")
    assert len(cache) == 1
    (face, marks), (true_face, true_marks) = cache.look(pixels), find_face(pixels)
    assert np.abs(marks.points - true_marks.points).max() < 0.5 and marks.yaw == pytest.approx(true_marks.yaw, abs=1e-3)
    assert face.box == pytest.approx(true_face.box, abs=1e-3)
    for name, tolerance in (("vgg16_lpips", 0.02), ("mobilefacenet", 1e-6)):
        one, other = (load_file(folder / "weights" / f"{name}.safetensors") for folder in (folders, data))
        assert one.keys() == other.keys()
        assert all(np.abs(one[k].astype(np.float32) - other[k]).max() <= tolerance for k in one)


def test_turned_heads_count_more_often(scripts):
    pack, _, _ = scripts
    marks = [type("Marks", (), {"yaw": yaw}) for yaw in (0, 10, -20, 5, 40, -30)]
    faces = {f"{number}.avif": (None, each) for number, each in enumerate(marks)}
    assert pack.times(faces | {f"{n}": (None, marks[0]) for n in range(10, 14)}) == {"4.avif": 2, "5.avif": 2}


def test_results_are_cut_and_joined(scripts, tmp_path):
    _, _, collect = scripts
    for name, size in (("one/metrics.jsonl", 100), ("one/checkpoints/x", 10), ("two/pipeline/w", 30_000)):
        (tmp_path / "runs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / name).write_bytes(bytes(range(100)) * (size // 100 + 1))
    collect.cut(tmp_path / "runs", tmp_path / "out", mib=0.01, skip=("*/checkpoints/*",))
    assert len(list((tmp_path / "out").glob("piece-*"))) > 2
    collect.join(tmp_path / "out", tmp_path / "back")
    for name in ("one/metrics.jsonl", "two/pipeline/w"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "runs" / name).read_bytes()
    assert not (tmp_path / "back" / "one" / "checkpoints").exists()
    (tmp_path / "out" / "piece-01").unlink()
    with pytest.raises(MaskHubError, match="not complete"):
        collect.join(tmp_path / "out", tmp_path / "again")
