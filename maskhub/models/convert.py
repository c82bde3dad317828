"""Convert generators of the pytorch-CycleGAN-and-pix2pix repository (Zhu, Park and others) to maskhub networks.

Its ``latest_net_G_A.pth`` is a state dict. A ResNet is one long ``nn.Sequential``, with padding, convolution, norm and
activation numbered consecutively. A U-Net is nested: each level contains the next one between its down and up layers.
Checkpoints from before PyTorch 0.4 also contain running statistics of instance norm. The original code drops them on
loading, and so does this module.
"""

import re
from pathlib import Path

import torch

from maskhub.errors import CheckpointError, ConfigError, first_line
from maskhub.models.resnet import ResnetGenerator
from maskhub.models.stored import check_finite
from maskhub.models.unet import UnetGenerator

__all__ = ["ARCHITECTURES", "convert_cyclegan_generator"]

ARCHITECTURES = ("resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128")
"""That repository's ``--netG`` names of generators."""
STATISTICS = re.compile(r"running_(mean|var)$|num_batches_tracked$")


def convert_cyclegan_generator(path, architecture=None):
    """Load a generator checkpoint as a :class:`ResnetGenerator` or :class:`UnetGenerator` in eval mode with the same
    output; width, depth, channels and norm are inferred from the weights.

    CheckpointError if there is no such file, it has more than tensors in it, weights of another architecture or with
    non-finite values, or takes images with other than three channels.

    Args:
        path: a ``.pth`` file; read with ``weights_only=True``, so that no code in it can run.
        architecture: one of :data:`ARCHITECTURES` that the file must contain; detected from the weights if not given.
    """
    weights = _read(path)
    found, kind, options, rename = _layout(path, weights)
    if architecture not in (None, found):
        raise CheckpointError(f"{path} is a {found} generator, not {architecture}. Set --architecture to {found}.")
    channels = options["in_channels"], options["out_channels"]
    if channels != (3, 3):
        raise CheckpointError(
            f"{path} maps {channels[0]} channels to {channels[1]}; maskhub needs colour images, three to three."
        )
    renamed = {}
    for name, tensor in weights.items():
        if options["norm"] != "batch" and STATISTICS.search(name):
            continue
        ours = rename(name)
        if ours is None:
            raise CheckpointError(f"{path} has a weight {name[:80]} that a {found} generator does not have.")
        renamed[ours] = tensor.float() if tensor.is_floating_point() else tensor
    check_finite(renamed, path)
    try:
        with torch.device("meta"):
            generator = kind(**options)
        if options["norm"] == "none":  # ours has biases where no norm follows, the original has none
            for name, tensor in generator.state_dict().items():
                if name.endswith("bias"):
                    renamed.setdefault(name, torch.zeros(tensor.shape))
        generator.load_state_dict(renamed, assign=True)
    except (RuntimeError, ConfigError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{path} does not fit {found}: {reason}") from error
    return generator.eval()


def _read(path):
    if not Path(path).is_file():
        raise CheckpointError(f"there is no file {path}.")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any other kind of file raises all kinds of errors
        raise CheckpointError(
            f"{path} is not a PyTorch file of plain tensors; it was not loaded, because it could run code "
            f"({first_line(error)})."
        ) from error
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in weights.items()
    ):
        raise CheckpointError(f"{path} is not a network's state dict; expected a file like latest_net_G_A.pth.")
    # torch.compile and data parallelism add prefixes
    return {re.sub(r"^(module\.)+", "", name.replace("_orig_mod.", "")): tensor for name, tensor in weights.items()}


def _layout(path, weights):
    """The architecture's name, our class with its options, and the function that renames a weight."""
    blocks = {match[1] for name in weights if (match := re.match(r"model\.(\d+)\.conv_block\.", name))}
    if blocks:
        return _resnet(path, weights, len(blocks))
    depth = 1 + max((place[0] for name in weights if (place := _level(name))), default=0)
    if depth > 1:
        return _unet(path, weights, depth)
    names = " or ".join(ARCHITECTURES)
    raise CheckpointError(f"{path} has neither residual blocks nor U-Net levels: it is not a generator of {names}.")


def _options(path, weights, first, last, normed):
    """Infer a generator's options from the names of its first and last convolution, and of one that a norm follows,
    with the norm's."""
    missing = [name for name in (f"{first}.weight", f"{last}.weight") if weights.get(name, torch.empty(0)).ndim != 4]
    if missing:
        raise CheckpointError(f"{path} has no {missing[0]}: the file is truncated or not a complete generator.")
    convolution, norm = normed
    kind = "batch" if f"{norm}.weight" in weights else "instance" if f"{convolution}.bias" in weights else "none"
    width, channels = weights[f"{first}.weight"].shape[:2]
    return {"width": width, "in_channels": channels, "norm": kind}


def _resnet(path, weights, blocks):
    options = _options(path, weights, "model.1", f"model.{17 + blocks}", ("model.1", "model.2"))
    if "model.10.conv_block.0.weight" in weights:
        raise CheckpointError(
            f"{path} was trained with zero padding in its residual blocks only, which ResnetGenerator does not support."
        )
    # dropout shifts a block's second convolution by one; in eval mode it has no effect
    sixth = weights.get("model.10.conv_block.6.weight")
    options |= {"blocks": blocks, "dropout": 0.5 if sixth is not None and sixth.ndim == 4 else 0.0}
    options["out_channels"] = weights[f"model.{17 + blocks}.weight"].shape[0]

    def rename(name):
        """``model.4.weight`` → ``down.0.0.weight``, and so on; None for an unknown name."""
        match = re.fullmatch(r"model\.(\d+)\.(?:conv_block\.(\d+)\.)?(\w+)", name)
        if not match:
            return None
        layer, inner, leaf = int(match[1]), match[2], match[3]
        if inner is not None:
            second = 6 if options["dropout"] else 5
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

    return f"resnet_{blocks}blocks", ResnetGenerator, options, rename


def _unet(path, weights, depth):
    second = ("model.model.1.model.1", "model.model.1.model.2")
    options = _options(path, weights, "model.model.0", "model.model.3", second) | {"depth": depth}
    options["out_channels"] = weights["model.model.3.weight"].shape[1]

    def rename(name):
        """``model.model.1.model.2.weight`` → ``encoder.1.2.weight``, and so on; None for an unknown name."""
        place = _level(name)
        if place is None:
            return None
        level, layer, leaf = place
        down, up = f"encoder.{level}", f"decoder.{depth - 1 - level}"
        homes = {1: f"{down}.1", 2: f"{down}.2", 5: f"{up}.1", 6: f"{up}.2"}
        if level == 0:
            homes = {0: f"{down}.1", 3: f"{up}.1"}
        elif level == depth - 1:
            homes = {1: f"{down}.1", 3: f"{up}.1", 4: f"{up}.2"}
        home = homes.get(layer)
        return home and f"{home}.{leaf}"

    return f"unet_{2**depth}", UnetGenerator, options, rename


def _level(name):
    """The U-Net level of a weight, the number of its layer there, and its last name; None for other weights."""
    match = re.fullmatch(r"model\.model\.((?:1\.model\.(?:3\.model\.)*)?)(\d+)\.(\w+)", name)
    return (match[1].count("model"), int(match[2]), match[3]) if match else None
