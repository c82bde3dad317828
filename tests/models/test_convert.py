"""Checkpoints of pytorch-CycleGAN-and-pix2pix become ResnetGenerators with the same output."""

import pytest
import torch
from torch import nn

from maskhub import CheckpointError, ResnetGenerator
from maskhub.models.convert import convert_cyclegan_generator


class Block(nn.Module):
    """A residual block laid out as that repository lays it out (our own writing of its layer order)."""

    def __init__(self, channels, norm, bias, dropout):
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels), nn.ReLU()]
        layers += [nn.Dropout(0.5)] if dropout else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm(channels)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv_block(x)


class Foreign(nn.Module):
    """The whole generator as one numbered sequence."""

    def __init__(self, width, blocks, norm=nn.InstanceNorm2d, dropout=False):
        super().__init__()
        bias = norm is not nn.BatchNorm2d
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7, bias=bias), norm(width), nn.ReLU()]
        for c in (width, 2 * width):
            layers += [nn.Conv2d(c, 2 * c, 3, 2, 1, bias=bias), norm(2 * c), nn.ReLU()]
        layers += [Block(4 * width, norm, bias, dropout) for _ in range(blocks)]
        for c in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1, bias=bias), norm(c // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh())

    def forward(self, x):
        return self.model(x)


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d])
@pytest.mark.parametrize("blocks", [6, 9])
def test_the_output_is_the_same(blocks, norm, dropout, tmp_path):
    torch.manual_seed(0)
    foreign = Foreign(8, blocks, norm, dropout)
    foreign.train()(torch.randn(4, 3, 32, 32))  # moves the running statistics off their start
    foreign.eval()
    torch.save(foreign.state_dict(), tmp_path / "latest_net_G_A.pth")
    ours = convert_cyclegan_generator(tmp_path / "latest_net_G_A.pth", f"resnet_{blocks}blocks")
    ours.save_pretrained(tmp_path / "hub")
    ours = ResnetGenerator.from_pretrained(tmp_path / "hub")
    x = torch.randn(2, 3, 64, 64)
    assert (ours(x) - foreign(x)).abs().max() < 2e-6


def test_old_running_statistics_of_instance_norm_are_left_out(tmp_path):
    foreign = Foreign(8, 6).eval()
    weights = foreign.state_dict()
    weights |= {"model.2.running_mean": torch.ones(8), "model.2.running_var": torch.ones(8)}
    weights |= {"model.10.conv_block.2.num_batches_tracked": torch.tensor(3)}
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, tmp_path / "old.pth")
    x = torch.randn(1, 3, 32, 32)
    ours = convert_cyclegan_generator(tmp_path / "old.pth", "resnet_6blocks")
    assert (ours(x) - foreign(x)).abs().max() < 2e-6


class Harm:
    """Would touch a file on unpickling."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_with_code_is_refused_and_never_runs(tmp_path):
    torch.save({"model.1.weight": Harm(str(tmp_path / "harm"))}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="plain tensors"):
        convert_cyclegan_generator(tmp_path / "bad.pth")
    assert not (tmp_path / "harm").exists()


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no file"):
        convert_cyclegan_generator(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(CheckpointError, match="plain tensors"):
        convert_cyclegan_generator(tmp_path / "text.pth")
    torch.save(Foreign(4, 6).state_dict(), tmp_path / "six.pth")
    with pytest.raises(CheckpointError, match="has 6 residual blocks"):
        convert_cyclegan_generator(tmp_path / "six.pth", "resnet_9blocks")
    torch.save({"model.1.weight": torch.zeros(1)}, tmp_path / "unet.pth")
    with pytest.raises(CheckpointError, match="no residual blocks"):
        convert_cyclegan_generator(tmp_path / "unet.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        convert_cyclegan_generator(tmp_path / "list.pth")
