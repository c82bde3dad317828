"""Safetensors files: bytes changed anywhere, and tables of contents that are JSON of the wrong kind."""

import json
import tempfile
from pathlib import Path

from fuzzing import fuzz, mutated_bytes, mutated_json

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-headers-"))
WEIGHTS = "diffusion_pytorch_model.safetensors"


def inputs():
    from maskhub import ResnetGenerator

    ResnetGenerator(width=2, blocks=1).save_pretrained(FOLDER)
    return {"network": (FOLDER / WEIGHTS).read_bytes()}


def mutate(data, rng):
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.4:
        return mutated_bytes(data[: 8 + length], rng) + data[8 + length :]
    if rng.random() < 0.2:
        return mutated_bytes(data, rng)
    header = mutated_json(json.loads(data[8 : 8 + length]), rng)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def read(name, data):
    from maskhub import MaskHubError, ResnetGenerator
    from maskhub.models.frozen import read_tensors

    (FOLDER / WEIGHTS).write_bytes(data)
    refusals = []
    for load in (lambda: read_tensors(FOLDER / WEIGHTS), lambda: ResnetGenerator.from_pretrained(FOLDER)):
        try:
            load()
        except MaskHubError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]


if __name__ == "__main__":
    fuzz(inputs(), read, mutate)
