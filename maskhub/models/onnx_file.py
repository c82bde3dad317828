"""Networks as ONNX files, run by onnxruntime on the CPU. Needs no torch.

    network = OnnxNetwork("maskhub/weights/light-256/unmasker")
    (made,) = network(images, noise)            # float32 arrays, N×3×H×W in [-1, 1]

A network's folder holds either a ``model.onnx`` with its weights, or a ``graph.onnx`` of some ten kilobytes that takes
its weights from the safetensors next to it.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from maskhub.errors import CheckpointError, ConfigError, first_line
from maskhub.models.stored import read_json, utf8_path
from maskhub.onnx_session import open_session

__all__ = ["FILE", "GRAPH", "INT8", "KEY", "NARROW", "PREFIX", "OnnxFile", "OnnxNetwork", "fingerprint"]

FILE = "model.onnx"
"""File name in a network's folder, as in Hugging Face's own ONNX exports."""
GRAPH = "graph.onnx"
"""File name of a graph without weights."""
INT8 = "graph-int8.onnx"
"""File name of a graph in 8 bits, without large weights (:mod:`maskhub.models.int8`)."""
KEY = "maskhub"
"""Key of the fingerprint in the file's metadata."""
NARROW = "narrow_weights"
"""Key in the metadata of a file whose 8-bit weights overflow on no processor (:mod:`maskhub.models.rounding`)."""
PREFIX = "network."
"""Prefix of the weights' names in a graph."""


def fingerprint(name, config, weights=()):
    """A hash of a network's class name, its configuration (without keys that begin with an underscore) and its
    weights, pairs of name and array; the fp16 variant has the same hash."""
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    digest = hashlib.sha256(json.dumps([name, config], sort_keys=True, default=str).encode())
    for key, array in sorted(weights, key=lambda pair: pair[0]):
        digest.update(key.encode())
        digest.update(array.astype(np.float16).tobytes())
    return digest.hexdigest()


class OnnxFile:
    """An ONNX file of a network, written by :func:`maskhub.models.export.export_onnx`, in onnxruntime on the CPU.
    CheckpointError if there is no such file, or it has other inputs.

    Args:
        weights: pairs of name and float32 array for a file without weights.
        threads: as for :func:`~maskhub.onnx_session.open_session`.

    Attributes:
        fingerprint: of the network it was made from.
        resolution: the only image side it accepts, or None if H and W are dynamic.
        noises: shape of each noise input without the batch, C×h×w.
    """

    def __init__(self, path, weights=(), threads=None):
        from onnxruntime import OrtValue

        if not Path(path).is_file():
            raise CheckpointError(f"there is no file {path}. Create it with `maskhub convert --to onnx`.")
        # keep a reference: the session does not copy them
        data = Path(path).read_bytes() if weights else b""
        weights = [(name, array) for name, array in weights if _field(PREFIX + name) in data]
        self._weights = [(PREFIX + name, OrtValue.ortvalue_from_numpy(array)) for name, array in weights]
        try:
            with utf8_path(path) as readable:
                self.session = open_session(readable, threads, self._weights, narrow=NARROW.encode() in data)
        except Exception as error:  # onnxruntime's errors have no common base class
            raise CheckpointError(f"{path} can't be read by onnxruntime: {first_line(error)}.") from error
        inputs = self.session.get_inputs()
        self.names = [put.name for put in inputs]
        if self.names[:1] != ["images"]:
            raise CheckpointError(f"{path} was not made by `maskhub convert --to onnx`: its inputs are {self.names}.")
        self.fingerprint = self.session.get_modelmeta().custom_metadata_map.get(KEY, "")
        side = inputs[0].shape[-1]
        self.resolution = side if isinstance(side, int) else None
        self.noises = [put.shape[1:] for put in inputs[1:]]

    def __call__(self, images, noise=()):
        """Run the network: float32 N×3×H×W in [-1, 1] and a list of noise arrays to the list of its outputs.
        ConfigError for images of another size than the file is made for."""
        side, size = self.resolution, images.shape[2:]
        if side and size != (side, side):
            raise ConfigError(f"images are {size[0]}×{size[1]}; this network takes {side}×{side}.")
        return self.session.run(None, dict(zip(self.names, (images, *noise), strict=True)))


class OnnxNetwork(OnnxFile):
    """A network's folder in onnxruntime: ``config`` from ``config.json``, its ONNX file and, for a ``graph.onnx``, its
    safetensors. CheckpointError if files are missing, damaged, or don't belong together."""

    def __init__(self, folder):
        folder = Path(folder)
        self.config = read_json(folder / "config.json")
        path = next((folder / name for name in (FILE, GRAPH) if (folder / name).is_file()), None)
        if path is None:
            raise CheckpointError(
                f"{folder} has no {GRAPH}, without which torch is needed: pip install 'maskhub[torch]', or create it "
                "with `maskhub convert --to onnx-graph`."
            )
        weights = _weights(folder) if path.name == GRAPH else []
        super().__init__(path, weights)
        whole = _weights(folder) if path.name == FILE and any(folder.glob("*.safetensors")) else []
        if self.fingerprint != fingerprint(self.config.get("_class_name", ""), self.config, whole):
            raise CheckpointError(f"{path} was made from another network. Run `maskhub convert --to onnx` again.")

    def draw_noise(self, generator):
        """The noise for one image, float32 arrays 1×C×h×w with the same values that torch draws, from a
        :class:`~maskhub.models.noise.Normal`."""
        deviation = self.config.get("noise")
        scale = np.float32(deviation if isinstance(deviation, (int, float)) else 1)
        return [scale * generator(1, *shape) for shape in self.noises]


def _field(name):
    """The bytes of a tensor's name in an ONNX file: field 8, its length, the name itself."""
    name = name.encode()
    return b"\x42" + bytes([len(name)]) + name


def _weights(folder):
    """Pairs of name and float32 array: the weights, or those of the folder's only variant."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    paths = sorted(folder.glob("*.safetensors"), key=lambda path: (path.name.count("."), path.name))
    if not paths:
        raise CheckpointError(f"{folder} has no weights: diffusion_pytorch_model.safetensors is missing.")
    paths = [path for path in paths if path.suffixes == paths[0].suffixes]
    arrays = {}
    try:
        for path in paths:
            with utf8_path(path) as readable:
                arrays |= load_file(readable)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as safetensors ({first_line(error)}).") from error
    arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(f"the weights of {folder} are broken: {name} has values that are not finite numbers.")
    return list(arrays.items())
