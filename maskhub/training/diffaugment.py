"""DiffAugment: differentiable augmentation of the discriminator's input, real and fake alike.

Zhao, Liu, Lin, Zhu, Han: "Differentiable Augmentation for Data-Efficient GAN Training" (NeurIPS 2020), section 4. For
small data sets: the discriminator can't memorise them, and the augmentations don't leak into the generator.
"""

import torch
from torch.nn import functional as F

from maskhub.errors import ConfigError

__all__ = ["POLICIES", "check_policies", "diff_augment", "policies"]


def policies(text):
    """The functions named in a list such as ``"color,translation,cutout"``; :class:`ConfigError` for another name."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in POLICIES]
    if unknown:
        raise ConfigError(f"--diffaugment is {text!r}; it must be any of {', '.join(POLICIES)}.")
    return [POLICIES[name] for name in names]


def check_policies(text):
    """Return ``text`` if :func:`policies` accepts it."""
    policies(text)
    return text


def diff_augment(images, chosen):
    """Augment each image of a batch by functions of :func:`policies`, with different random parameters.

    The batch is N×3k×H×W in [-1, 1]; k pictures that belong together (as for a conditional discriminator) are augmented
    alike. Colours may leave [-1, 1].
    """
    for augment in chosen:
        images = augment(images)
    return images


def _random(images):
    return torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype)


def _colour(images):
    """Change brightness by ±0.5, saturation by a factor of 0 to 2, contrast by 0.5 to 1.5."""
    images = images + (_random(images) - 0.5)
    n, channels, height, width = images.shape
    pictures = images.view(n, channels // 3, 3, height, width)
    grey = pictures.mean(2, keepdim=True)
    images = ((pictures - grey) * (2 * _random(images)).unsqueeze(1) + grey).view_as(images)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (_random(images) + 0.5) + mean


def _translation(images):
    """Shift by up to an eighth of each side, padded with 0."""
    n, _, height, width = images.shape
    reach_y, reach_x = round(height / 8), round(width / 8)
    padded = F.pad(images, (reach_x, reach_x, reach_y, reach_y))
    top = torch.randint(0, 2 * reach_y + 1, (n, 1, 1), device=images.device)
    left = torch.randint(0, 2 * reach_x + 1, (n, 1, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device)[None, :, None]
    columns = left + torch.arange(width, device=images.device)[None, None, :]
    number = torch.arange(n, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[number, rows, columns].permute(0, 3, 1, 2)


def _cutout(images):
    """Set a square of half the side, at a random place, to 0."""
    n, _, height, width = images.shape
    centre_y = torch.randint(0, height + 1, (n, 1, 1, 1), device=images.device)
    centre_x = torch.randint(0, width + 1, (n, 1, 1, 1), device=images.device)
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    inside = ((rows - centre_y).abs() < height // 4) & ((columns - centre_x).abs() < width // 4)
    return images * ~inside


POLICIES = {"color": _colour, "translation": _translation, "cutout": _cutout}
"""Named as in the authors' code."""
