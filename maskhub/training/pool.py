"""The image pool: the discriminator is shown a history of fakes, not only the newest ones.

Shrivastava et al.: "Learning from Simulated and Unsupervised Images through Adversarial Training" (SimGAN, CVPR 2017),
section 2.3; CycleGAN keeps 50 images and swaps with probability 0.5.
"""

import torch

__all__ = ["ImagePool"]


class ImagePool:
    """Holds the last fakes of one generator.

    Args:
        size: images kept; 0 passes everything through.
        seed: of the pool's own random numbers, so that it does not depend on who else draws.
    """

    def __init__(self, size=50, seed=0):
        self.size = size
        self.images = []
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, fakes):
        """Swap a batch N×C×H×W through the pool: each image comes back as itself or as an older one, half and half."""
        if self.size == 0:
            return fakes
        out = []
        for fake in fakes.detach():
            if len(self.images) < self.size:
                self.images.append(fake.clone())
                out.append(fake)
            elif torch.rand((), generator=self.generator) < 0.5:
                place = int(torch.randint(self.size, (), generator=self.generator))
                out.append(self.images[place])
                self.images[place] = fake.clone()
            else:
                out.append(fake)
        return torch.stack(out)

    def state_dict(self):
        """Tensors only: the images N×C×H×W and the state of the random numbers."""
        images = torch.stack(self.images) if self.images else torch.empty(0)
        return {"images": images, "generator": self.generator.get_state()}

    def load_state_dict(self, state):
        self.images = list(state["images"].unbind()) if state["images"].numel() else []
        self.generator.set_state(state["generator"].cpu())
