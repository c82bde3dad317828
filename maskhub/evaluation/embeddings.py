"""A cache of face vectors, so that evaluating another model on the same photos does not encode them again.

The keys are hashes of the photo's pixels, the face's points, the encoder and the bytes of its weights.
"""

import hashlib
import os
from pathlib import Path
from weakref import WeakKeyDictionary

import numpy as np

from maskhub.data.blobs import BlobCache

__all__ = ["EmbeddingCache", "default_cache"]

CHUNK = 64
"""Number of faces to encode before their vectors are saved."""


class EmbeddingCache(BlobCache):
    """Vectors of faces by encoder."""

    table, columns, otherwise = "vectors", ("face", "vector"), "faces are encoded again each time"

    def __init__(self, path=None):
        super().__init__(path)
        self._identities = WeakKeyDictionary()

    def embed_many(self, encoder, photos, faces):
        """As ``encoder.embed_many(photos, faces)``."""
        if encoder not in self._identities:
            self._identities[encoder] = _identity(encoder)
        own = self._identities[encoder]
        out = np.empty((len(photos), encoder.dimensions), np.float32)
        keys = [_key(own, pixels, face) for pixels, face in zip(photos, faces, strict=True)]
        missing = []
        for number, key in enumerate(keys):
            vector = np.frombuffer(self.get(key) or b"", np.float32)
            if vector.shape != out.shape[1:]:
                missing.append(number)
            else:
                out[number] = vector
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            out[part] = encoder.embed_many([photos[n] for n in part], [faces[n] for n in part])
            self.put([(keys[n], out[n].tobytes()) for n in part])
        return out


def default_cache():
    """Folder for faces and vectors, not the photos' own, which may be read-only."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "maskhub" / "evaluation"


def _identity(encoder):
    """A hash of an encoder's settings and the bytes of its weights."""
    digest = hashlib.blake2b(digest_size=16)
    settings = {k: v for k, v in vars(type(encoder)).items() if isinstance(v, (int, float, str)) and k[0] != "_"}
    digest.update(repr(sorted(settings.items())).encode())
    if encoder.weights is not None:
        digest.update(Path(encoder.weights).read_bytes())
    return digest.digest()


def _key(own, pixels, face):
    digest = hashlib.blake2b(own, digest_size=16, key=str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels))
    for part in (face.box, face.points, *(() if face.sides is None else (face.sides,))):
        digest.update(np.asarray(part, "<f4").tobytes())
    return digest.digest()
