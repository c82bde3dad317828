"""A feature network that can be saved and shared: a folder or Hub repository with config.json and safetensors.

    network = FeatureNetwork(architecture="vgg16", layer=29, resolution=224)
    network.trunk.load_state_dict(VGG.load("vgg16_lpips.safetensors").state_dict())
    network.save_pretrained("my-features")
    # maskhub evaluate quality --network my-features ...

Results measured with it carry its name.
"""

from typing import Literal

from maskhub.models.configured import Whole, configured
from maskhub.models.inception import FidInception
from maskhub.models.network import Network, check_range
from maskhub.models.vgg import PLANS, VGG

__all__ = ["FeatureNetwork"]

VGG_DEPTHS = {f"vgg{depth}": depth for depth in PLANS}


class FeatureNetwork(Network):
    """Maps N×3×H×W RGB images in [0, 1] to N×D features, where D depends on architecture and layer.

    Args:
        architecture: ``"vgg16"``, ``"vgg19"`` or ``"inception"`` (:class:`~maskhub.models.inception.FidInception`; only
            the published weights, selected by the name ``inception``, give a score that may be called FID).
        layer: VGG layer by torchvision's number; its activations are averaged over the image.
        resolution: side in pixels that images are resized to.
    """

    @configured
    def __init__(
        self,
        architecture: Literal[*VGG_DEPTHS, "inception"] = "vgg16",
        layer: Whole(0, 64) = 29,
        resolution: Whole(32, 1024) = 224,
    ):
        super().__init__()
        depth = VGG_DEPTHS.get(architecture)
        self.trunk = VGG(depth) if depth else FidInception()
        if depth:
            check_range("layer", layer, 0, len(self.trunk.features) - 1)

    def forward(self, images):
        """Features of images that already have a side of ``resolution`` pixels."""
        if self.config.architecture == "inception":
            return self.trunk(images)
        return self.trunk(images, (self.config.layer,))[0].mean((2, 3))
