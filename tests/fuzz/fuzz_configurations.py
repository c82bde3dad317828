"""``config.json`` and ``model_index.json`` with values of other kinds and sizes."""

import json
import tempfile
from pathlib import Path

from fuzzing import fuzz, mutated_bytes, mutated_json

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-configurations-"))


def inputs():
    from maskhub import FaceMaskPipeline, ReimagingPipeline, ResnetGenerator
    from maskhub.models.dense import DenseGenerator
    from maskhub.models.light import LightGenerator

    light = LightGenerator(widths=(4, 8), blocks=(1, 1), heads=2, detail=4, positions=4)
    FaceMaskPipeline(ResnetGenerator(width=2, blocks=1), light, resolution=64).save_pretrained(FOLDER / "faces")
    pipe = ReimagingPipeline()
    pipe.add("one", DenseGenerator(hidden=(8,)), {"tone": "light"})
    pipe.save_pretrained(FOLDER / "reimaging")
    return {path.relative_to(FOLDER).as_posix(): path.read_bytes() for path in FOLDER.rglob("*.json")}


def mutate(data, rng):
    if rng.random() < 0.1:
        return mutated_bytes(data, rng)
    return json.dumps(mutated_json(json.loads(data), rng)).encode()


def read(name, data):
    from maskhub import FaceMaskPipeline, ReimagingPipeline

    path = FOLDER / name
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        kind = FaceMaskPipeline if name.startswith("faces") else ReimagingPipeline
        kind.from_pretrained(FOLDER / name.split("/")[0])
    finally:
        path.write_bytes(before)


if __name__ == "__main__":
    fuzz(inputs(), read, mutate)
