"""Load pretrained networks that are used but never trained: weights are read once and stay fixed."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from maskhub.errors import CheckpointError, first_line
from maskhub.models.stored import check_finite, read_header, utf8_path

__all__ = ["fold_norms", "load_frozen", "read_tensors"]


def read_tensors(path):
    """The tensors of a safetensors file by name, with half precision converted to float32. CheckpointError if there is
    no such file, it is damaged, or a value is not a finite number."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_header(path)
    try:
        with utf8_path(path) as readable:
            tensors = load_file(readable)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} can't be read as safetensors ({first_line(error)}).") from error
    check_finite(tensors, path)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def load_frozen(network, tensors, path, optional=()):
    """Load weights into a network and return it in eval mode, without gradients for its parameters. ``optional`` names
    may be missing and keep their initial value; CheckpointError if others are missing, unexpected or of another shape,
    with ``path``, where the weights come from."""
    try:
        missing, extra = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{path} does not fit {type(network).__name__}: {what}") from error
    missing = [name for name in missing if name not in optional and not name.endswith("num_batches_tracked")]
    if missing or extra:
        what = f"it has no {missing[0]}" if missing else f"it has {extra[0]}, which the network does not have"
        raise CheckpointError(f"{path} does not fit {type(network).__name__}: {what}.")
    return network.eval().requires_grad_(False)


def fold_norms(network):
    """Fold each batch norm of a frozen network into the convolution before it, in place, and return it: faster."""
    before = None
    for name, module in list(network.named_children()):
        if isinstance(module, nn.BatchNorm2d) and before and isinstance(before[1], nn.Conv2d):
            setattr(network, before[0], fuse_conv_bn_eval(before[1], module).requires_grad_(False))
            setattr(network, name, nn.Identity())
        fold_norms(module)
        before = name, module
    return network
