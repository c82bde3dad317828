"""A cache on disk of the faces and landmarks found in photos: finding them takes most of the time of making training
pairs."""

import hashlib
import os
from pathlib import Path

import numpy as np

from maskhub.data.blobs import BlobCache
from maskhub.data.journal import RESULTS_OF
from maskhub.faces.detect import detect
from maskhub.faces.face import Face
from maskhub.faces.landmarks import Landmarks, reliable, surest_landmarks
from maskhub.files import HIDDEN

__all__ = ["FaceCache", "cache_folder", "find_face"]


def cache_folder(source):
    """Folder for the face cache of a source: ``.maskhub`` in its folder if that is writable, else ``~/.cache/maskhub``
    (or ``XDG_CACHE_HOME``)."""
    folder = source.folder
    # root can write anywhere, but should not write to read-only folders either
    if folder is not None and os.access(folder, os.W_OK) and Path(folder).stat().st_mode & 0o222:
        return Path(folder) / HIDDEN
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maskhub"


class FaceCache(BlobCache):
    """The largest face of each photo and its landmarks; the key is a hash of the pixels, uint8 RGB H×W×3."""

    table, columns, otherwise = "faces", ("photo", "found"), "faces are detected again each time"

    def look(self, pixels):
        """The :class:`~maskhub.faces.face.Face` of a photo and its :class:`~maskhub.faces.landmarks.Landmarks`, from
        the cache or detected now; None if there is no face with reliable landmarks."""
        known = self.get(_key(pixels))
        if known is not None:
            return _unpacked(known)
        found = find_face(pixels)
        self.remember([(pixels, found)])
        return found

    def remember(self, faces):
        """Put pairs of a photo's pixels and what :func:`find_face` returned for it into the cache."""
        self.put([(_key(pixels), _packed(found)) for pixels, found in faces])


def _key(pixels):
    how = {"digest_size": 16, "key": str(pixels.shape).encode(), "person": RESULTS_OF.encode()[:16]}
    return hashlib.blake2b(np.ascontiguousarray(pixels), **how).digest()


def find_face(pixels):
    """The largest face of a photo (uint8 RGB, H×W×3) and its landmarks, or None if a mask can't be drawn on it."""
    for face in detect(pixels)[:1]:
        marks = surest_landmarks(pixels, face)
        if reliable(marks, face):
            return face, marks
    return None


def _packed(found):
    """Little-endian: landmarks as float32, then all else as float64; empty for no face."""
    if found is None:
        return b""
    face, marks = found
    numbers = [*face.box, face.score, *face.points.ravel(), marks.presence, marks.yaw, marks.pitch, marks.roll]
    numbers += [*marks.rotation.ravel(), marks.agreed]
    numbers += [] if face.sides is None else [*face.sides.ravel()]
    return marks.points.astype("<f4").tobytes() + np.array(numbers, "<f8").tobytes()


def _unpacked(data):
    if not data:
        return None
    points = np.frombuffer(data, "<f4", 478 * 3).reshape(478, 3).astype(np.float32)
    numbers = np.frombuffer(data, "<f8", offset=478 * 3 * 4)
    five, sides = numbers[5:15].reshape(5, 2).astype(np.float32), numbers[29:].reshape(-1, 2).astype(np.float32)
    face = Face(tuple(map(float, numbers[:4])), five, float(numbers[4]), sides if len(sides) else None)
    rotation = numbers[19:28].reshape(3, 3).astype(np.float64)
    return face, Landmarks(points, *map(float, numbers[15:19]), rotation, agreed=bool(numbers[28]))
