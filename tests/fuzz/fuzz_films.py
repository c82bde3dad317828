"""Films in every container that is read, with sound, a display matrix and a joint in the clock."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
from films import film, unchanged, written
from fuzzing import fuzz

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-films-"))


def inputs():
    scene = np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)
    frames = list(film(scene, 6, size=(64, 48)))
    options = {
        "a.mp4": {"sound": "aac"},
        "b.mov": {"sound": "pcm_s16le", "display": {"degrees": 90, "hflip": True}},
        "c.mkv": {"sound": "libopus", "times": [0, 40, 100, 110, 300, 340]},
        "d.webm": {"codec": "libvpx-vp9", "sound": "libopus"},
        "e.avi": {"codec": "mpeg4", "sound": "pcm_u8"},
        "f.ts": {"sound": "aac"},
        "g.mpg": {"codec": "mpeg1video", "sound": "mp2"},
        "h.flv": {"codec": "flv1", "sound": "libmp3lame", "sound_rate": 44100},
    }
    made = {}
    for name, chosen in options.items():
        made[name] = written(FOLDER / name, frames, **chosen).read_bytes()
    made["joined.ts"] = made["f.ts"] * 2
    return made


def read(name, data):
    from maskhub.pipelines.film_reading import film_facts
    from maskhub.pipelines.video import Film
    from maskhub.provenance import read_provenance

    path, target = FOLDER / f"case{Path(name).suffix}", FOLDER / f"out.{'webm' if len(data) % 5 == 0 else 'mp4'}"
    path.write_bytes(data)
    film_facts(path)
    steps = iter(Film(path, target, unchanged))
    try:
        list(itertools.islice(steps, 20))
    finally:
        steps.close()
        target.unlink(missing_ok=True)
    assert not list(FOLDER.glob(".partial-*"))
    if path.suffix in (".mp4", ".mov", ".mkv", ".webm"):
        read_provenance(path)


if __name__ == "__main__":
    fuzz(inputs(), read)
