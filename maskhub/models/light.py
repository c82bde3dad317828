"""The light (lightweight) attention generator: an attention-gated U-Net on a space-to-depth grid, fast on a CPU.

It keeps what suits AttentionGAN (Tang, Liu, Xu, Torr, Sebe, TNNLS 2021) to masks, a content image and an attention that
lets everything else pass through, at a fraction of the cost. The image is folded into a grid of cells (Shi et al.:
"Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network", CVPR
2016). A small U-Net of plain residual blocks works on three such grids, self-attention on the coarsest grid covers the
whole face, and a learned positional map encodes the place on the aligned face. Blocks are normalised per pixel (Zhang,
Sennrich: "Root Mean Square Layer Normalization", NeurIPS 2019), so that the same weights work at several resolutions
and give the same results alone and in a batch. The attention is a stretched sigmoid (Louizos, Welling, Kingma:
"Learning Sparse Neural Networks through L0 Regularization", ICLR 2018), exactly 0 where nothing should change.
"""

from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from maskhub.errors import ConfigError
from maskhub.models.configured import Blocks, Deviation, Flag, Whole, Width, configured
from maskhub.models.network import Network, check_multiple, check_range

__all__ = ["LightGenerator"]

STRETCH = 0.1
"""How far the attention's sigmoid extends below 0 and above 1 before it is clipped."""


class LightGenerator(Network):
    """Translates N×3×H×W in [-1, 1] to the same shape and range; H and W are multiples of 16 with the defaults.

    With the content C and the attention A the result is x + A (C - x); where A is 0 it is exactly x.

    The defaults give 3.4 million parameters and are meant for 128 pixels (1.1 GFLOP; 4.4 at 256). :meth:`grown` makes
    a network for 256 pixels from it: 3.5 million parameters and 2.7 GFLOP with ``detail=32`` and ``detail_blocks=2``.

    Args:
        widths: channels on the finest grid, on the next one with cells twice as large, and so on.
        blocks: residual blocks on each grid; all but the coarsest have as many on the way down as up.
        patch: side in pixels of the finest grid's cells.
        heads: of the self-attention on the coarsest grid; 0 omits it.
        positions: cells per side of the learned positional map, resized to the coarsest grid; 0 omits it.
        fold: space-to-depth factor of the last layers; 2 costs at 256 pixels what 1 costs at 128.
        detail: channels of the last layers.
        detail_blocks: residual blocks among the last layers.
        residual: predict a change of the input instead of a new image, for content that should stay similar.
        noise: standard deviation of the normal noise added on each grid on the way up and to the last layers, weighted
            by a learned strength per channel (Karras, Laine, Aila: "A Style-Based Generator Architecture", CVPR 2019);
            0 for none.
    """

    translates = True

    @configured
    def __init__(
        self,
        widths: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)] = (64, 128, 192),
        blocks: Annotated[tuple[Blocks, ...], Field(min_length=1, max_length=8)] = (1, 1, 3),
        patch: Whole(1, 16) = 4,
        heads: Whole(0, 64) = 4,
        positions: Whole(0, 256) = 16,
        fold: Whole(1, 16) = 1,
        detail: Whole(1, 256) = 12,
        detail_blocks: Blocks = 0,
        residual: Flag = False,
        noise: Deviation = 0.0,
    ):
        super().__init__()
        if len(widths) != len(blocks):
            raise ConfigError(f"widths {tuple(widths)} and blocks {tuple(blocks)} must have the same length.")
        if heads and widths[-1] % heads:
            raise ConfigError(f"heads is {heads}; the last width, {widths[-1]}, must be a multiple of it.")
        self.stem = nn.Conv2d(3 * (fold * patch) ** 2, widths[0], 3, padding=1)
        self.before = nn.ModuleList(_blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairwise(widths))
        self.places = nn.Parameter(torch.randn(1, widths[-1], positions, positions) / 10) if positions else None
        half = blocks[-1] // 2
        self.middle = nn.Sequential(
            _blocks(widths[-1], blocks[-1] - half),
            _Attention(widths[-1], heads) if heads else nn.Identity(),
            _blocks(widths[-1], half),
        )
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(coarse, 4 * fine, 1), nn.PixelShuffle(2)) for fine, coarse in pairwise(widths)
        )
        self.after = nn.ModuleList(_blocks(w, n) for w, n in zip(widths[:-1], blocks[:-1], strict=True))
        if noise:
            self.strengths = nn.ParameterList(torch.full((1, width, 1, 1), 0.1) for width in (detail, *widths))
        self.unfold = nn.Sequential(
            _Norm(widths[0]), nn.Conv2d(widths[0], detail * patch**2, 1), nn.PixelShuffle(patch)
        )
        self.fine = nn.Conv2d(3 * fold**2, detail, 3, padding=1)
        self.sharpen = _blocks(detail, detail_blocks)
        self.out = nn.Conv2d(detail, 4 * fold**2, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
                nn.init.zeros_(module.bias)
        for module in self.modules():  # each block starts near the identity
            if isinstance(module, (_Block, _Attention)):
                nn.init.normal_(module.last.weight, 0.0, 0.1 * module.last.weight[0].numel() ** -0.5)
        nn.init.normal_(self.out.weight, 0.0, 0.02)

    @property
    def takes_noise(self):
        return bool(self.config.noise)

    def draw_noise(self, count, height, width, generator=None):
        """Noise for ``count`` images as ``forward`` takes it: N×1×h×w for the last layers, then for each grid, finest
        first."""
        where = generator.device if generator is not None else "cpu"
        cells = [self.config.fold, *(self._cell() << level for level in range(len(self.config.widths)))]
        sizes = [(height // cell, width // cell) for cell in cells]
        return [self.config.noise * torch.randn(count, 1, *size, generator=generator, device=where) for size in sizes]

    def forward(self, images, generator=None, with_attention=False, noise=None):
        """Translate ``images``, N×3×H×W in [-1, 1], with the noise of a ``torch.Generator``, whose seed fixes the
        result, or the ``noise`` of :meth:`draw_noise`. ``with_attention`` also returns the unstretched attention,
        N×2×H×W: the shares of the content and of the input."""
        fold = self.config.fold
        check_multiple(images, self._cell() << len(self.down), 3, at_least=32)
        if self.takes_noise:
            drawn = self.draw_noise(len(images), *images.shape[2:], generator) if noise is None else noise
            noises = [s.to(images) * n.to(images) for s, n in zip(self.strengths, drawn, strict=True)]
        else:
            noises = [0.0] * (1 + len(self.config.widths))
        x, skips = self.stem(F.pixel_unshuffle(images, self._cell())), []
        for blocks, down in zip(self.before, self.down, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        x = x + noises[-1]
        if self.places is not None:
            x = x + _resized(self.places, x.shape[2:])
        x = self.middle(x)
        for level in reversed(range(len(self.up))):
            x = self.after[level](self.up[level](x) + skips[level] + noises[1 + level])
        x = self.sharpen(F.relu(self.unfold(x) + self.fine(F.pixel_unshuffle(images, fold)) + noises[0]))
        content, gate = F.pixel_shuffle(self.out(x), fold).split((3, 1), 1)
        shown = torch.sigmoid(gate.float())
        attention = (shown * (1 + 2 * STRETCH) - STRETCH).clamp(0, 1).to(images.dtype)
        content = torch.tanh(content)
        content = (images + 2 * content).clamp(-1, 1) if self.config.residual else content
        out = images + attention * (content - images)
        return (out, torch.cat([shown, 1 - shown], 1)) if with_attention else out

    @torch.no_grad()
    def grown(self, detail=None, detail_blocks=None):
        """A network for images of twice the side that starts as this one between downsampling and upsampling.

        Karras, Aila, Laine, Lehtinen: "Progressive Growing of GANs" (ICLR 2018), with all growth in the first and last
        layers: ``detail`` channels, at least as many as here, and ``detail_blocks`` residual blocks.
        """
        own = {name: value for name, value in self.config.items() if not name.startswith("_")}
        detail = detail or own["detail"]
        check_range("detail", detail, own["detail"], 256)
        changes = {"fold": 2 * own["fold"], "detail": detail, "detail_blocks": detail_blocks or own["detail_blocks"]}
        other = type(self)(**own | changes)
        for module in other.sharpen:
            nn.init.zeros_(module.last.weight)
        there = other.state_dict()
        for name, value in self.state_dict().items():
            if there[name].shape == value.shape:
                there[name].copy_(value)
        for name, side in (("stem", self._cell()), ("fine", own["fold"])):
            weight = _repeated(getattr(self, name).weight.unflatten(1, (3, side, side)), 2) / 4
            getattr(other, name).weight[: len(weight)].copy_(weight.flatten(1, 3))
        other.fine.bias[: own["detail"]].copy_(self.fine.bias)
        rows = own["detail"] * own["patch"] ** 2
        other.unfold[1].weight[:rows].copy_(self.unfold[1].weight)
        other.unfold[1].bias[:rows].copy_(self.unfold[1].bias)
        other.out.weight.zero_()  # weights of the new channels
        weight = _repeated(self.out.weight.unflatten(0, (4, own["fold"], own["fold"])), 1)
        other.out.weight[:, : own["detail"]].copy_(weight.flatten(0, 2))
        other.out.bias.copy_(_repeated(self.out.bias.unflatten(0, (4, own["fold"], own["fold"])), 1).flatten())
        return other

    @torch.no_grad()
    def deepened(self, blocks):
        """A network with more residual blocks on its grids that starts out equal: the new blocks are the identity.
        :class:`ConfigError` for fewer blocks on a grid, or another number of grids."""
        own = {name: value for name, value in self.config.items() if not name.startswith("_")}
        blocks = tuple(blocks)
        if len(blocks) != len(own["blocks"]) or any(new < old for new, old in zip(blocks, own["blocks"], strict=True)):
            raise ConfigError(f"can't change blocks {tuple(own['blocks'])} to {blocks}: grids can only gain blocks.")
        other = type(self)(**own | {"blocks": blocks})
        for module in other.modules():
            if isinstance(module, _Block):
                nn.init.zeros_(module.last.weight)
        other.load_state_dict(self.state_dict(), strict=False)
        return other

    def fitted(self, config):
        """This network, :meth:`grown` if ``config`` has twice its fold, and :meth:`deepened` if it has other blocks."""
        grown = self.grown(config.detail, config.detail_blocks) if config.fold == 2 * self.config.fold else self
        return grown.deepened(config.blocks) if tuple(config.blocks) != tuple(grown.config.blocks) else grown

    def _cell(self):
        """Side in pixels of the finest grid's cells."""
        return self.config.fold * self.config.patch


class _Norm(nn.Module):
    """Each pixel's channels divided by their root mean square, times a learned gain."""

    def __init__(self, channels):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x):
        # trained activations reach 940, whose square overflows half precision
        scale = (x.float().square().mean(1, keepdim=True) + 1e-6).rsqrt()
        return x * scale.to(x.dtype) * self.gain


class _Block(nn.Module):
    """x + conv(relu(conv(norm(x))))."""

    def __init__(self, channels):
        super().__init__()
        self.norm = _Norm(channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.last(F.relu(self.first(self.norm(x))))


class _Attention(nn.Module):
    """x + self-attention among all cells of the grid."""

    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.norm = _Norm(channels)
        self.first = nn.Conv2d(channels, 3 * channels, 1)
        self.last = nn.Conv2d(channels, channels, 1)

    def forward(self, x):
        n, channels, height, width = x.shape
        parts = self.first(self.norm(x)).reshape(n, 3, self.heads, channels // self.heads, height * width)
        query, key, value = parts.transpose(-1, -2).unbind(1)
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.last(attended.transpose(-1, -2).reshape(n, channels, height, width))


def _blocks(channels, count):
    return nn.Sequential(*(_Block(channels) for _ in range(count)))


def _resized(places, size):
    if places.shape[2:] == size:
        return places
    return F.interpolate(places, size=tuple(size), mode="bilinear", align_corners=False)


def _repeated(x, first):
    """Repeat each entry along dimension ``first`` and the next one twice."""
    return x.repeat_interleave(2, first).repeat_interleave(2, first + 1)
