"""Pack face photos and feature networks into parts small enough to travel to a rented machine.

    python train_scripts/gpu/pack.py --unmasked FACES/celeba FACES/more --masked FACES/masked --weights-dir WEIGHTS \
        --output PACK --part-mib 19
    python train_scripts/gpu/unpack.py --input PACK --output DATA        # there

A photo takes about 4 KB (AVIF). The held-out tenth is never packed, nor is a photo of a source in ``--leave-out``.
Faces and landmarks of the unmasked photos are found here and packed too, so that the other machine does not spend its
time on them. VGG16 is packed with 8 bits a weight.
"""

import io
import json
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import tyro
from safetensors.numpy import load_file, save

from maskhub.data.face_cache import find_face
from maskhub.data.folder_rows import FolderRows
from maskhub.faces.photo import open_photo, split_alpha
from maskhub.files import write_file
from maskhub.image_file import open_image

TURNED, SHARE = 25.0, 1 / 3
"""Photos of heads turned by more than this many degrees are repeated until they are this share of all."""
COMPONENTS = 96
"""Principal components that keep the landmarks of the faces, to about a fifth of a pixel."""


@dataclass
class Options:
    """Pack photos and feature networks for training on another machine."""

    unmasked: list[Path] = field(default_factory=list)
    """Folders of unmasked faces; a metadata.csv in them may name the source of a photo."""
    masked: list[Path] = field(default_factory=list)
    """Folders of really masked faces."""
    weights_dir: Path | None = None
    """Folder with vgg16_lpips.safetensors and mobilefacenet.safetensors."""
    output: Path = Path("pack")
    """Folder for part-00.zip, part-01.zip, ..."""
    leave_out: list[str] = field(default_factory=lambda: ["fairface_val"])
    """Sources that are never packed: test sets."""
    fewer: list[str] = field(default_factory=lambda: ["players=0.5", "masked_comp6721=0.3"])
    """NAME=SHARE: the share of the photos of a source, or of a folder, that is packed."""
    quality: int = 50
    """AVIF quality of the photos, 0 to 100."""
    part_mib: float = 15.0
    """Largest size of a part."""
    workers: int = 2
    """Processes."""


def main(options):
    options.output.mkdir(parents=True, exist_ok=True)
    parts = Parts(options.output, options.part_mib)
    if options.weights_dir:
        parts.add("weights/vgg16_lpips.int8.npz", eight_bits(options.weights_dir / "vgg16_lpips.safetensors"))
        parts.add("weights/mobilefacenet.safetensors", half(options.weights_dir / "mobilefacenet.safetensors"))
    unmasked = packed(options.unmasked, options, True)
    masked = packed(options.masked, options, False)
    faces = {name: found for name, _, found in unmasked if found}
    parts.add("faces.npz", packed_faces(faces))
    parts.add("times.json", json.dumps(times(faces)).encode())
    # both kinds in every part, so that each part alone can be trained on
    order = np.random.default_rng(0).permutation(len(faces) + len(masked))
    all_photos = [(f"unmasked/{name}", data) for name, data, found in unmasked if found]
    all_photos += [(f"masked/{name}", data) for name, data, _ in masked]
    for place in order:
        parts.add(*all_photos[place])
    parts.close()
    print(f"{len(faces):,} unmasked photos of {len(unmasked):,}, {len(masked):,} masked ones, {parts.number} parts")


class Parts:
    """Zip files of a limited size, filled one after the other."""

    def __init__(self, folder, mib):
        self.folder, self.most, self.number, self.file, self.size = folder, mib * 2**20, 0, None, 0

    def add(self, name, data):
        cost = len(data) + 2 * len(name) + 100
        if self.file is None or self.size + cost > self.most:
            self.close()
            self.buffer = io.BytesIO()
            self.file, self.size = zipfile.ZipFile(self.buffer, "w"), 100
        self.file.writestr(name, data)
        self.size += cost

    def close(self):
        if self.file is not None:
            self.file.close()
            write_file(self.folder / f"part-{self.number:02}.zip", self.buffer.getvalue())
            self.file, self.number = None, self.number + 1


def packed(folders, options, with_faces):
    """Name, AVIF bytes and face of every photo that may be trained on."""
    jobs, shares = [], {name: float(share) for name, share in (entry.split("=") for entry in options.fewer)}
    for folder in folders:
        for row in FolderRows(folder):
            source = row.columns.get("source") or ""
            share = shares.get(source, shares.get(folder.name, 1.0))
            if not row.held_out and source not in options.leave_out:
                draw = np.random.default_rng(list(row.name.encode())).random()
                if draw < share:
                    jobs.append((Path(row.photo), options.quality, with_faces))
    # a fork would wait forever for OpenCV's threads, which it does not have
    own = {"mp_context": get_context("spawn"), "initializer": cv2.setNumThreads, "initargs": (1,)}
    with ProcessPoolExecutor(options.workers, **own) as pool:
        return list(pool.map(pack_photo, *zip(*jobs, strict=True), chunksize=16)) if jobs else []


def pack_photo(path, quality, with_face):
    """Encode a photo; its face is found on the photo that the other machine will decode."""
    photo, data = split_alpha(open_photo(path))[0], io.BytesIO()
    photo.save(data, "AVIF", quality=quality, speed=7, max_threads=1)
    found = find_face(np.asarray(open_image(data).convert("RGB"))) if with_face else None
    return f"{path.parent.name}_{path.stem}.avif", data.getvalue(), found


def packed_faces(faces):
    """The faces as an npz file: landmarks as principal components, all else as float32."""
    names, found = list(faces), list(faces.values())
    points = np.stack([marks.points.ravel() for _, marks in found])
    mean = points.mean(0)
    _, _, basis = np.linalg.svd(points - mean, full_matrices=False)
    basis = basis[:COMPONENTS].astype(np.float32)
    rest = np.stack(
        [[*face.box, face.score, *face.points.ravel(), m.presence, m.yaw, m.pitch, m.roll, *m.rotation.ravel()]
         for face, m in found]
    )  # fmt: skip
    kept = (points - mean) @ basis.T
    error = np.abs(kept @ basis + mean - points).mean()
    print(f"landmarks are packed with a mean error of {error:.2f} pixels")
    file = io.BytesIO()
    np.savez_compressed(file, names=names, mean=mean, basis=basis, kept=kept.astype(np.float16),
                        rest=rest.astype(np.float32))  # fmt: skip
    return file.getvalue()


def times(faces):
    """How often each photo counts: turned heads more often, up to their share."""
    turned = [name for name, (_, marks) in faces.items() if abs(marks.yaw) > TURNED]
    others = len(faces) - len(turned)
    often = max(1, round(SHARE / (1 - SHARE) * others / max(len(turned), 1)))
    print(f"{len(turned):,} of {len(faces):,} heads are turned by more than {TURNED:.0f}°: each counts {often} times")
    return dict.fromkeys(turned, often)


def eight_bits(path):
    """Convolutions as whole numbers from -127 to 127 with a scale for each channel; the rest as it is."""
    arrays = {}
    for name, value in load_file(path).items():
        if value.ndim == 4 and value.shape[1] > 3 and value.shape[0] > 1:
            scale = np.abs(value.astype(np.float32)).max((1, 2, 3), keepdims=True) / 127
            arrays[name] = np.rint(value / scale).astype(np.int8)
            arrays[f"{name} scale"] = scale.astype(np.float32)
        else:
            arrays[name] = value
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def half(path):
    return save({name: value.astype(np.float16) for name, value in load_file(path).items()})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
