"""Sample pictures through similarity transforms, one for each."""

import torch
from torch.nn import functional as F

__all__ = ["sampled"]


def sampled(pictures, scale, angle, x, y, side, padding="border"):
    """A turned square of each picture, float N×C×R×R, as N×C×side×side.

    Args:
        scale: side of the square as a fraction of the picture's. It and the next three are tensors of N numbers.
        angle: how far the square is turned, in radians.
        x, y: its centre, from -1 to 1 across and down the picture.
        padding: what lies beyond the picture's edges: ``padding_mode`` of ``grid_sample``.
    """
    cos, sin = scale * angle.cos(), scale * angle.sin()
    theta = torch.stack([cos, -sin, x, sin, cos, y], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, (*pictures.shape[:2], side, side), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode=padding, align_corners=False)
