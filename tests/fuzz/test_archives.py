"""Broken zips, metadata and pictures: an import lists what it refuses and takes the rest."""

import io
import os
import random
import struct
import time
import zipfile

import psutil
import pytest
from PIL import Image

from maskhub.errors import MaskHubError
from maskhub.service.datasets import Datasets
from maskhub.service.home import Home
from maskhub.service.limits import Limits
from maskhub.service.uploads import receive

pytestmark = pytest.mark.filterwarnings("ignore:Duplicate name")
ROUNDS = [pytest.param(30, id="30"), pytest.param(1500, id="1500", marks=pytest.mark.slow)]
METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
LIMITS = Limits(pixels=1_000_000)
SECONDS, MEMORY = 60, 700 * 2**20
NAMES = [
    "a.png",
    "train/b.jpg",
    "test/c.webp",
    "metadata.csv",
    "metadata.jsonl",
    "x/metadata.csv",
    "../up.png",
    "/r.png",
]
NAMES += ["a" * 300 + ".png", "é\u202e.png", "con.png", ".hidden.png", "C:\\x.png", "a.png/", "notes.txt", "in.zip", ""]
TEXTS = [
    "file_name,tone\na.png,light\n",
    "file_name\n",
    "tone\nx\n",
    '{"file_name": "a.png", "age": 7}\n',
    "[1]\n",
    "{}\n",
]
TEXTS += ["file_name,file_name\na.png,b.png\n", '"', "\0", "file_name," + "c," * 50, "\ufeff,\n", '{"file_name": [[]]}']
TEXTS += ["file_name,tone\na.png,=cmd|x\n", '{"a": ' * 3000, "NaN\n", '{"file_name": 1e999}']


def picture(chance):
    file = io.BytesIO()
    size = chance.choice([(32, 32), (64, 40), (1, 1), (16, 16)])
    kind = chance.choice(["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
    Image.effect_noise(size, 60).convert(chance.choice(["RGB", "L"])).save(file, kind)
    return file.getvalue()


def archive(chance):
    """A zip of pictures, metadata and odd names, packed by any method."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", chance.choice(METHODS)) as made:
        for _ in range(chance.randint(1, 6)):
            name = chance.choice(NAMES)
            data = chance.choice(TEXTS).encode() if "metadata" in name else picture(chance)
            made.writestr(zipfile.ZipInfo(name) if chance.random() < 0.1 else name or "x", data)
    return file.getvalue()


def mutated(chance, data):
    """Some bytes changed, cut, doubled or replaced by numbers at the edge."""
    data = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(data) or 1)
        kind = chance.randrange(5)
        if kind == 0:
            data[place : place + 1] = chance.randbytes(1)
        elif kind == 1:
            edge = chance.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 0xFFFF])
            data[place : place + 4] = struct.pack("<I", edge)
        elif kind == 2:
            del data[place : place + chance.choice([1, 10, 1000])]
        elif kind == 3:
            data[place:place] = data[place : place + chance.choice([4, 46, 500])]
        else:
            data[place : place + 20] = chance.randbytes(20)
    return bytes(data)


@pytest.mark.parametrize("rounds", ROUNDS)
def test_whatever_is_brought_is_taken_or_listed(tmp_path, rounds):
    home = Home(tmp_path / "home")
    process = psutil.Process()
    before = process.memory_info().rss
    for seed in range(rounds):
        chance = random.Random(seed)
        data = archive(chance) if chance.random() < 0.7 else picture(chance)
        data = data if chance.random() < 0.1 else mutated(chance, data)
        path = tmp_path / chance.choice(["faces.zip", "a.png", "b.tif", "metadata.csv", "metadata.jsonl", "c.gif"])
        path.write_bytes(chance.choice(TEXTS).encode() if path.name.startswith("metadata") else data)
        begun = time.monotonic()
        try:
            report = receive(home, [path], f"d{seed % 50}", key="k", limits=LIMITS)
        except MaskHubError as error:
            assert "\n" not in str(error), seed
            continue
        finally:
            assert time.monotonic() - begun < SECONDS, seed
            path.unlink()
        for name, why in report.refused:
            assert "\n" not in name + why and "Traceback" not in why and len(why) < 500, (seed, name, why)
    for name in Datasets(home).names():
        for face in Datasets(home).faces(name) if not name.startswith("builtin") else ():
            assert max(face.image.size) <= LIMITS.side
    assert [path for path in os.listdir(home.root) if path.startswith(".incoming")] == []
    assert process.memory_info().rss - before < MEMORY
