"""A feature network to save, share and name: a folder, or a repository on the Hub, with config.json and safetensors.

    network = FeatureNetwork(architecture="vgg16", layer=29, resolution=224)
    network.trunk.load_state_dict(VGG.load("vgg16_lpips.safetensors").state_dict())
    network.save_pretrained("my-features")
    # maskhub evaluate quality --network my-features ...

Figures measured with it bear its name.
"""

from typing import Literal

from maskhub.models.configured import Whole, configured
from maskhub.models.inception import FidInception
from maskhub.models.network import Network, check_range
from maskhub.models.vgg import PLANS, VGG

__all__ = ["FeatureNetwork"]

VGG_DEPTHS = {f"vgg{depth}": depth for depth in PLANS}


class FeatureNetwork(Network):
    """N×3×H×W RGB images in [0, 1] to N×D features, D of its architecture and layer.

    Args:
        architecture: ``"vgg16"``, ``"vgg19"`` or ``"inception"`` (:class:`~maskhub.models.inception.FidInception`; yet
            only the published weights, asked for by the name ``inception``, give what is called FID).
        layer: of a VGG, by torchvision's number; its activations are averaged over the picture.
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
        """Features of images that are ``resolution`` pixels a side already."""
        if self.config.architecture == "inception":
            return self.trunk(images)
        return self.trunk(images, (self.config.layer,))[0].mean((2, 3))
