"""The pipeline without torch: networks in onnxruntime, on the CPU.

    pipe = OnnxFaceMaskPipeline.bundled()
    pipe.unmask("masked.jpg").save("unmasked.png")

It takes the same options as :class:`~maskhub.pipelines.face_mask.FaceMaskPipeline` and makes the same pictures, to 1 of
255, and starts in a tenth of its time.
"""

import numpy as np

from maskhub.direction import ROLES
from maskhub.models.noise import Normal
from maskhub.models.onnx_file import FILE, GRAPH, OnnxNetwork
from maskhub.pipelines.fetch import check_index, fetch_pipeline, load_errors, model_name
from maskhub.pipelines.photo_pipeline import BUNDLED, PhotoPipeline, Settings
from maskhub.tensors import to_array, to_pixels

__all__ = ["OnnxFaceMaskPipeline"]


class OnnxFaceMaskPipeline(PhotoPipeline):
    """Translates the faces of whole photos between *unmasked* and *masked*, without torch.

    Args:
        folder: of a pipeline whose networks have a ``graph.onnx`` or ``model.onnx``.
        config: its :class:`~maskhub.pipelines.photo_pipeline.Settings`.
        roles: names of the networks it has, ``"masker"`` and ``"unmasker"``; each is loaded when it is first used.
    """

    def __init__(self, folder, config, roles):
        self.config = config
        self._folder, self._roles, self._networks = folder, roles, {}

    @classmethod
    def from_pretrained(cls, name, **options):
        """Load from a folder or a Hub id (``pip install 'maskhub[hub]'``); ``options`` as for huggingface_hub's
        downloads.

        Raises:
            CheckpointError: nothing there, no access, not a maskhub pipeline, or one without ONNX graphs.
        """
        folder = fetch_pipeline(name, onnx=True, **options)
        with load_errors(name):
            index = check_index(folder, "FaceMaskPipeline", Settings, dict.fromkeys(ROLES))
            pipeline = cls(folder, *index)
        pipeline.model_name = model_name(name)
        return pipeline

    @classmethod
    def bundled(cls):
        """The bundled checkpoint; its ``README.md`` describes what it can do."""
        return cls.from_pretrained(BUNDLED)

    @property
    def complete(self):
        """Whether there is an ONNX file of each network."""
        return all(any((self._folder / role / name).is_file() for name in (FILE, GRAPH)) for role in self._roles)

    @property
    def masker(self):
        """The :class:`~maskhub.models.onnx_file.OnnxNetwork` unmasked → masked, or None."""
        return self._loaded("masker")

    @property
    def unmasker(self):
        """The :class:`~maskhub.models.onnx_file.OnnxNetwork` masked → unmasked, or None."""
        return self._loaded("unmasker")

    @property
    def backends(self):
        """``"masker"`` and ``"unmasker"`` → the backend that each has used so far."""
        return dict.fromkeys(self._networks, "onnxruntime")

    def run(self, direction, crops, owners, batch_size):  # described in PhotoPipeline
        network, out = self.network(direction), []
        draws = {owner: Normal(owner[1]) for owner in owners} if network.noises else {}
        for start in range(0, len(crops), batch_size):
            own = [draws[owner] for owner in owners[start : start + batch_size]] if draws else []
            noise = [np.concatenate(level) for level in zip(*map(network.draw_noise, own), strict=True)]
            (made,) = network(to_array(crops[start : start + batch_size]), noise)
            out.extend(to_pixels(made))
        return out

    def _loaded(self, role):
        if role not in self._roles:
            return None
        if role not in self._networks:
            with load_errors(self._folder):
                self._networks[role] = OnnxNetwork(self._folder / role)
        return self._networks[role]
