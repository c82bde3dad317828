"""Reading generators of the pytorch-CycleGAN-and-pix2pix repository (Zhu, Park and others) into ours.

Their ``latest_net_G_A.pth`` is a state dict of one long ``nn.Sequential``: padding, convolution, norm and activation
are numbered through. Checkpoints from before PyTorch 0.4 also carry running statistics of instance norm, which their
code throws away on loading and so do we.
"""

import pickle
import re
from pathlib import Path

import torch

from maskhub.errors import CheckpointError, first_line
from maskhub.models.network import choose
from maskhub.models.resnet import ResnetGenerator

__all__ = ["ARCHITECTURES", "convert_cyclegan_generator"]

ARCHITECTURES = {"resnet_9blocks": 9, "resnet_6blocks": 6}


def convert_cyclegan_generator(path, architecture="resnet_9blocks"):
    """Load a generator checkpoint as a :class:`ResnetGenerator` with the same output.

    Args:
        path: a ``.pth`` file; read with ``weights_only=True``, so that no code in it can run.
        architecture: ``"resnet_9blocks"`` or ``"resnet_6blocks"``, as in that repository's ``--netG``.

    Returns:
        the generator in eval mode; width, channels and norm are read off the weights.

    Raises:
        CheckpointError: no such file, more than tensors in it, or weights of another architecture.
    """
    blocks = choose("the architecture", architecture, ARCHITECTURES)
    weights = _read(path)
    found = len({match[1] for name in weights if (match := re.match(r"model\.(\d+)\.conv_block\.", name))})
    if found != blocks or "model.1.weight" not in weights:
        what = f"has {found} residual blocks" if found else "has no residual blocks (a U-Net?)"
        raise CheckpointError(f"{path} {what}: not a generator of {architecture}. Choose another --architecture.")
    if "model.10.conv_block.0.weight" in weights:
        raise CheckpointError(
            f"{path} was trained with zero padding in its blocks alone, which ResnetGenerator has not."
        )
    first = weights["model.1.weight"]
    last = weights[f"model.{17 + blocks}.weight"]
    generator = ResnetGenerator(
        width=first.shape[0],
        blocks=blocks,
        norm="batch" if "model.2.weight" in weights else "instance",
        # their dropout layer moves the second convolution of a block on by one; in eval mode it does nothing
        dropout=0.5
        if "model.10.conv_block.6.weight" in weights and weights["model.10.conv_block.6.weight"].ndim == 4
        else 0.0,
        in_channels=first.shape[1],
        out_channels=last.shape[0],
    )
    renamed = {}
    for name, tensor in weights.items():
        ours = _rename(name, blocks, bool(generator.config.dropout))
        if ours is None:
            raise CheckpointError(f"{path} has a weight {name} that a generator of {architecture} does not.")
        if generator.config.norm == "batch" or not re.search(r"running_(mean|var)$|num_batches_tracked$", name):
            renamed[ours] = tensor
    try:
        generator.load_state_dict(renamed)
    except RuntimeError as error:
        raise CheckpointError(f"{path} does not fit {architecture}: {str(error).splitlines()[-1].strip()}") from error
    return generator.eval()


def _read(path):
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file {path}.")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(
            f"{path} is no PyTorch file of plain tensors; it was not loaded, since it could run code "
            f"({first_line(error)})."
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{path} is no state dict of a network: expected latest_net_G_A.pth or the like.")
    return {name.removeprefix("module."): tensor for name, tensor in weights.items()}


def _rename(name, blocks, dropout):
    """``model.4.weight`` → ``down.0.0.weight``, and so on; None for a name that has no place."""
    match = re.fullmatch(r"model\.(\d+)\.(?:conv_block\.(\d+)\.)?(\w+)", name)
    if not match:
        return None
    layer, inner, leaf = int(match[1]), match[2], match[3]
    if inner is not None:
        second = 6 if dropout else 5
        place = {1: 0, 2: 1, second: 4, second + 1: 5}.get(int(inner))
        return None if place is None else f"trunk.{layer - 10}.body.{place}.{leaf}"
    up = 10 + blocks
    homes = {
        1: "head.0", 2: "head.1",
        4: "down.0.0", 5: "down.0.1", 7: "down.1.0", 8: "down.1.1",
        up: "up.0.0", up + 1: "up.0.1", up + 3: "up.1.0", up + 4: "up.1.1",
        up + 7: "tail.0",
    }  # fmt: skip
    home = homes.get(layer)
    return home and f"{home}.{leaf}"
