"""Other people's inpainting networks, to compare with: the mask on a face is the hole that they fill.

    peer = open_peer("lama.onnx")                    # or "diffusers:user/inpainting-model"
    pixels = unmasked_by(peer, pixels)

The largest face is cropped as for maskhub's own networks, and the hole is the region of the mask detector, slightly
enlarged. Two forms of ONNX files are known:

* LaMa's (Suvorov and others, "Resolution-robust Large Mask Inpainting with Fourier Convolutions", WACV 2022): a picture
  N×3×H×W in [0, 1] and a hole N×1×H×W, 1 where pixels are missing; the result is in [0, 1] or in [0, 255].
* MI-GAN's (Sargsyan and others, "MI-GAN: A Simple Baseline for Image Inpainting on Mobile Devices", ICCV 2023): its
  pipeline takes a uint8 picture and a uint8 mask, 255 where pixels are *known*; the network alone takes one float input
  N×4×H×W, the mask minus 0.5 and the masked picture in [-1, 1].
"""

import inspect
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from maskhub.errors import CheckpointError, ConfigError, NoFaceError, first_line
from maskhub.faces import align
from maskhub.faces.detect import detect
from maskhub.masks.detector import detect_mask_on_crop
from maskhub.onnx_session import open_session

__all__ = ["DIFFUSERS", "DiffusersPeer", "OnnxPeer", "open_peer", "unmasked_by"]

DIFFUSERS = "diffusers:"
SIDE = 512
"""Side of the crop in pixels for peers that take any size."""
WIDER = 0.02
"""Enlargement of the detected region on each side, as a share of the crop: a peer would extend a mask's visible rim."""
SOFT = 0.004
"""Softness of the hole's edge when it is pasted, as a share of the crop."""
PROMPT = "a portrait photo of a person's face, without a mask"


def open_peer(spec, device="cpu", steps=None):
    """Open a peer: an ONNX file, or ``diffusers:`` and the folder or Hub id of an inpainting pipeline, for which
    ``device`` and the number of denoising ``steps`` are (None: its own). ConfigError for an ONNX file of another form,
    CheckpointError if there is no such file or pipeline, or it can't be loaded."""
    if spec.startswith(DIFFUSERS):
        return DiffusersPeer(spec.removeprefix(DIFFUSERS), device, steps)
    return OnnxPeer(spec)


def unmasked_by(peer, pixels):
    """A photo (uint8 H×W×3) whose largest face has its mask replaced by a peer. NoFaceError if no face or no mask was
    found, ConfigError if the peer fails."""
    faces = detect(pixels)
    if not faces:
        raise NoFaceError("no face was found.")
    matrix = align.alignment(faces[0], peer.side)
    crop = align.crop(pixels, matrix, peer.side)
    region = (detect_mask_on_crop(crop).region >= 0.5).astype(np.uint8)
    if not region.any():
        raise NoFaceError("no mask was found on the face.")
    radius = round(WIDER * peer.side)
    hole = cv2.dilate(region, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
    made = peer(crop, hole.astype(bool))
    opacity = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), SOFT * peer.side) * hole
    return align.paste(pixels, made, opacity, matrix)[0]


def _lama(crop, hole):
    return {3: crop.astype(np.float32) / 255, 1: hole.astype(np.float32)}


def _migan_pipeline(crop, hole):
    return {3: crop, 1: np.where(hole, 0, 255).astype(np.uint8)}


def _migan(crop, hole):
    return {4: np.concatenate([0.5 - hole, (crop / 127.5 - 1) * ~hole], 1).astype(np.float32)}


FLOAT, UINT8 = "tensor(float)", "tensor(uint8)"
FORMS = {((1, FLOAT), (3, FLOAT)): _lama, ((1, UINT8), (3, UINT8)): _migan_pipeline, ((4, FLOAT),): _migan}
"""Channels and types of the inputs → the function from a crop and a hole, uint8 1×3×S×S and bool 1×1×S×S, to the input
of each number of channels."""


class OnnxPeer:
    """An inpainting network in an ONNX file, run by onnxruntime on the CPU: its file ``name``, the ``side`` of its
    pictures in pixels, and the size of its weights in ``megabytes``."""

    def __init__(self, path):
        self.name, path = Path(path).name, Path(path).expanduser()
        if not path.is_file():
            raise CheckpointError(f"there is no peer {path}: give an ONNX file, or diffusers: and a Hub id.")
        try:
            self.session = open_session(path)
        except Exception as error:  # onnxruntime's errors have no common base class
            raise CheckpointError(f"the peer {path} can't be read by onnxruntime: {first_line(error)}.") from error
        self.megabytes = sum(file.stat().st_size for file in (path, *path.parent.glob(f"{path.name}[._]data"))) / 1e6
        inputs = [put for put in self.session.get_inputs() if len(put.shape) == 4]
        self._form = FORMS.get(
            tuple(sorted((put.shape[1], put.type) for put in inputs if isinstance(put.shape[1], int)))
        )
        self._names = {put.shape[1]: put.name for put in inputs}
        sides = {side for put in inputs for side in put.shape[2:] if isinstance(side, int)}
        if self._form is None or len(inputs) < len(self.session.get_inputs()) or len(sides) > 1:
            shown = (f"{p.name} {p.type} {'×'.join(map(str, p.shape))}" for p in self.session.get_inputs())
            raise self._other_form(f"its inputs are {', '.join(shown)}")
        self.side = sides.pop() if sides else SIDE
        # also warms it up
        grey, hole = np.full((self.side, self.side, 3), 128, np.uint8), np.zeros((self.side, self.side), bool)
        hole[self.side // 2 :] = True
        self._in_bytes = self._run(grey, hole).max() > 2
        self(grey, hole)

    def __call__(self, crop, hole):
        """Fill the ``hole`` (bool S×S) of a ``crop`` (uint8 S×S×3); uint8 S×S×3."""
        made = self._run(crop, hole).astype(np.float32)
        if self._form is _migan:
            made = made * 127.5 + 127.5
        elif not self._in_bytes:
            made = made * 255
        return np.rint(made.clip(0, 255)).astype(np.uint8)

    def _run(self, crop, hole):
        given = self._form(crop.transpose(2, 0, 1)[None], hole[None, None])
        feeds = {self._names[channels]: np.ascontiguousarray(array) for channels, array in given.items()}
        try:
            (made, *_) = self.session.run(None, feeds)
        except Exception as error:  # as above
            raise self._other_form(first_line(error)) from error
        if made.shape != (1, 3, self.side, self.side):
            raise self._other_form(f"its result has the shape {'×'.join(map(str, made.shape))}")
        return made[0].transpose(1, 2, 0)

    def _other_form(self, why):
        return ConfigError(
            f"the peer {self.name} has neither the form of LaMa nor that of MI-GAN: {why}. "
            "It must take a square picture and its hole; see docs/evaluate.md."
        )


class DiffusersPeer:
    """An inpainting pipeline of diffusers; attributes as for :class:`OnnxPeer`."""

    def __init__(self, repo_id, device="cpu", steps=None):
        self.name, self.steps = DIFFUSERS + repo_id, steps
        try:
            self.pipeline = _inpainting(repo_id).to(device)
        except Exception as error:  # missing files or packages, other pipelines
            raise CheckpointError(f"the peer {self.name} can't be loaded: {first_line(error)}.") from error
        self.pipeline.set_progress_bar_config(disable=True)
        parts = [part for part in self.pipeline.components.values() if hasattr(part, "parameters")]
        self.megabytes = sum(p.numel() * p.element_size() for part in parts for p in part.parameters()) / 1e6
        sample = getattr(getattr(self.pipeline, "unet", None), "config", {}).get("sample_size")
        self.side = sample * getattr(self.pipeline, "vae_scale_factor", 1) if isinstance(sample, int) else SIDE
        self.takes = inspect.signature(self.pipeline.__call__).parameters

    def __call__(self, crop, hole):
        """As for :class:`OnnxPeer`."""
        import torch

        keeps = type(self.pipeline).__name__ == "RePaintPipeline"  # its mask is 1 where pixels are known
        mask = Image.fromarray(np.where(hole != keeps, 255, 0).astype(np.uint8))
        given = {
            "image": Image.fromarray(crop), "mask_image": mask, "prompt": PROMPT, "num_inference_steps": self.steps,
            "height": self.side, "width": self.side, "generator": torch.Generator().manual_seed(0),
        }  # fmt: skip
        given = {name: value for name, value in given.items() if name in self.takes and value is not None}
        try:
            made = self.pipeline(**given).images[0].convert("RGB")
        except Exception as error:  # whatever the pipeline raises
            raise ConfigError(f"the peer {self.name} failed: {first_line(error)}.") from error
        return np.asarray(made.resize((self.side, self.side), Image.Resampling.LANCZOS))


def _inpainting(repo_id):
    """The pipeline's own class if it takes picture and hole, else diffusers' inpainting class for its kind."""
    import diffusers

    name = diffusers.DiffusionPipeline.load_config(repo_id).get("_class_name", "")
    own = getattr(diffusers, str(name), None)
    takes = inspect.signature(own.__call__).parameters if inspect.isclass(own) else {}
    if not {"image", "mask_image"} <= {*takes}:
        own = diffusers.AutoPipelineForInpainting
    return own.from_pretrained(repo_id, use_safetensors=True)
