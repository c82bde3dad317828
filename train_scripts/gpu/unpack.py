"""Unpack what ``pack.py`` packed: photos, their faces, and feature networks.

    python train_scripts/gpu/unpack.py --input PACK --output DATA

writes ``DATA/unmasked`` and ``DATA/masked``, photos for ``--unmasked`` and ``--masked``, and ``DATA/weights`` for
``--weights-dir``. Photos become BMP files, which are read fastest. Parts that arrive later are added by the same
command. The held-out tenth was left out by the photos' old names, so train without ``--holdout``.
"""

import io
import json
import os
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import tyro
from safetensors.numpy import save_file

from maskhub.data.face_cache import FaceCache, cache_folder
from maskhub.faces.face import Face
from maskhub.faces.landmarks import Landmarks
from maskhub.image_file import open_image

CHUNK = 64
"""Photos that a process unpacks at a time."""


@dataclass
class Options:
    """Unpack photos and feature networks for training."""

    input: Path = Path("pack")
    """Folder with part-00.zip, part-01.zip, ..."""
    output: Path = Path("data")
    """Folder for the photos and networks."""
    workers: int = 0
    """Processes; 0: one for each core."""


def main(options):
    options.output.mkdir(parents=True, exist_ok=True)
    count = 0
    with ProcessPoolExecutor(options.workers or os.cpu_count(), get_context("spawn")) as pool:
        for part in sorted(options.input.glob("part-*.zip")):
            with zipfile.ZipFile(part) as file:
                contents = {name: file.read(name) for name in file.namelist()}
            for name in [name for name in contents if not name.endswith(".avif")]:
                unpack_file(options.output, name, contents.pop(name))
            photos = list(contents.items())
            chunks = [photos[start : start + CHUNK] for start in range(0, len(photos), CHUNK)]
            count += sum(pool.map(unpack_photos, [options.output] * len(chunks), chunks))
    print(f"{count:,} photos in {options.output}")


def unpack_file(output, name, data):
    """Write a network, or keep the faces and the photos' counts until all photos are there."""
    target = output / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".int8.npz"):
        save_file(full_weights(np.load(io.BytesIO(data))), output / name.replace(".int8.npz", ".safetensors"))
    else:
        target.write_bytes(data)


def full_weights(packed):
    """The float16 weights of ``pack.py``'s 8-bit ones."""
    weights = {}
    for name in packed.files:
        if not name.endswith(" scale"):
            scale = f"{name} scale"
            weights[name] = (packed[name] * packed[scale]).astype(np.float16) if scale in packed.files else packed[name]
    return weights


def unpack_photos(output, photos):
    """Write photos as BMP files and their faces to the cache. Returns the number of files."""
    faces, times, found, count = unpacked_faces(output / "faces.npz"), {}, [], 0
    times = json.loads((output / "times.json").read_text())
    for name, data in photos:
        photo = open_image(io.BytesIO(data)).convert("RGB")
        target = (output / name).with_suffix(".bmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        photo.save(target)
        short = name.removeprefix("unmasked/")
        if short in faces:
            found.append((np.asarray(photo), faces[short]()))
        for number in range(2, times.get(short, 1) + 1):
            link = target.with_name(f"{target.stem}~{number}.bmp")
            link.unlink(missing_ok=True)
            os.link(target, link)
        count += times.get(short, 1)
    if found:
        cache = FaceCache(cache_folder(Photos(output / "unmasked")) / "faces.sqlite")
        cache.remember(found)
        cache.close()
    return count


@dataclass
class Photos:
    """A folder of photos, as :func:`cache_folder` asks for it."""

    folder: Path


def unpacked_faces(path):
    """Name → function that returns face and landmarks."""
    packed = dict(np.load(path))
    places = {str(name): place for place, name in enumerate(packed["names"])}

    def face(place):
        points = packed["kept"][place].astype(np.float32) @ packed["basis"] + packed["mean"]
        numbers = packed["rest"][place].astype(np.float64)
        found = Face(tuple(map(float, numbers[:4])), numbers[5:15].reshape(5, 2).astype(np.float32), float(numbers[4]))
        marks = Landmarks(
            points.reshape(-1, 3).astype(np.float32), *map(float, numbers[15:19]), numbers[19:28].reshape(3, 3)
        )
        return found, marks

    return {name: lambda place=place: face(place) for name, place in places.items()}


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main(tyro.cli(Options, description=__doc__))
