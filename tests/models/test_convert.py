"""Checkpoints of pytorch-CycleGAN-and-pix2pix become maskhub generators with the same output."""

import os

import pytest
import torch
from forked import run_code
from torch import nn

from maskhub import CheckpointError, ResnetGenerator, UnetGenerator
from maskhub.cli import main
from maskhub.models.convert import convert_cyclegan_generator


class Block(nn.Module):
    """A residual block laid out as in that repository (reimplemented from its layer order)."""

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

    def __init__(self, width, blocks, norm=nn.InstanceNorm2d, dropout=False, channels=(3, 3)):
        super().__init__()
        bias = norm is nn.InstanceNorm2d
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(channels[0], width, 7, bias=bias), norm(width), nn.ReLU()]
        for c in (width, 2 * width):
            layers += [nn.Conv2d(c, 2 * c, 3, 2, 1, bias=bias), norm(2 * c), nn.ReLU()]
        layers += [Block(4 * width, norm, bias, dropout) for _ in range(blocks)]
        for c in (4 * width, 2 * width):
            layers += [nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1, bias=bias), norm(c // 2), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels[1], 7), nn.Tanh())

    def forward(self, x):
        return self.model(x)


class Level(nn.Module):
    """A level of a U-Net laid out as in that repository: down layers, the next level, up layers."""

    def __init__(self, outside, inside, norm, inner=None, given=None, dropout=False):
        super().__init__()
        bias, self.outermost = norm is nn.InstanceNorm2d, given is not None
        down = nn.Conv2d(given or outside, inside, 4, 2, 1, bias=bias)
        up = nn.ConvTranspose2d(inside if inner is None else 2 * inside, outside, 4, 2, 1, bias=bias or self.outermost)
        if self.outermost:
            layers = [down, inner, nn.ReLU(), up, nn.Tanh()]
        elif inner is None:
            layers = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm(outside)]
        else:
            layers = [nn.LeakyReLU(0.2), down, norm(inside), inner, nn.ReLU(), up, norm(outside)]
            layers += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class ForeignUnet(nn.Module):
    """The whole U-Net, built from the inside out."""

    def __init__(self, width, depth, norm=nn.BatchNorm2d, dropout=False, channels=(3, 3)):
        super().__init__()
        level = Level(8 * width, 8 * width, norm)
        for _ in range(depth - 5):
            level = Level(8 * width, 8 * width, norm, level, dropout=dropout)
        for factor in (4, 2, 1):
            level = Level(factor * width, 2 * factor * width, norm, level)
        self.model = Level(channels[1], width, norm, level, given=channels[0])

    def forward(self, x):
        return self.model(x)


def no_norm(channels):
    return nn.Identity()


NORMS = [nn.InstanceNorm2d, nn.BatchNorm2d, no_norm]


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("blocks", [6, 9])
def test_the_output_is_the_same(blocks, norm, dropout, tmp_path):
    torch.manual_seed(0)
    foreign = Foreign(8, blocks, norm, dropout)
    foreign.train()(torch.randn(4, 3, 32, 32))  # moves the running statistics off their initial values
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
    """Touches a file when unpickled."""

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
    with pytest.raises(CheckpointError, match="is a resnet_6blocks generator, not resnet_9blocks"):
        convert_cyclegan_generator(tmp_path / "six.pth", "resnet_9blocks")
    torch.save({"model.1.weight": torch.zeros(1)}, tmp_path / "unet.pth")
    with pytest.raises(CheckpointError, match="neither residual blocks nor U-Net"):
        convert_cyclegan_generator(tmp_path / "unet.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="state dict; expected a file"):
        convert_cyclegan_generator(tmp_path / "list.pth")


@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("depth", [7, 8])
def test_a_unet_gives_the_same_output(depth, norm, dropout, tmp_path):
    torch.manual_seed(0)
    foreign = ForeignUnet(2, depth, norm, dropout)
    side = 2 ** (depth + 1)  # instance norm needs more than one innermost cell
    foreign.train()(torch.randn(2, 3, side, side))
    foreign.eval()
    torch.save(foreign.state_dict(), tmp_path / "latest_net_G.pth")
    ours = convert_cyclegan_generator(tmp_path / "latest_net_G.pth", f"unet_{2**depth}")
    assert ours.config.depth == depth and ours.config.width == 2
    ours.save_pretrained(tmp_path / "hub")
    ours = UnetGenerator.from_pretrained(tmp_path / "hub")
    x = torch.randn(1, 3, side, side)
    assert (ours(x) - foreign(x)).abs().max() < 1e-5


PREFIXES = ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
FOREIGN = {"resnet": lambda **options: Foreign(4, 6, **options), "unet": lambda **options: ForeignUnet(2, 7, **options)}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", FOREIGN)
def test_prefixes_of_compiled_and_parallel_networks(kind, prefix, tmp_path):
    foreign = FOREIGN[kind]().eval()
    torch.save({f"{prefix}{name}": tensor for name, tensor in foreign.state_dict().items()}, tmp_path / "a.pth")
    x = torch.randn(1, 3, 256, 256)
    assert (convert_cyclegan_generator(tmp_path / "a.pth")(x) - foreign(x)).abs().max() < 1e-5


@pytest.mark.parametrize("kind", FOREIGN)
def test_broken_generators_are_refused(kind, tmp_path):
    whole = FOREIGN[kind]().state_dict()
    names = [name for name, tensor in whole.items() if tensor.ndim == 4]
    infinite = whole[names[-1]].clone()
    infinite.view(-1)[5] = torch.inf
    last = "model.23.weight" if kind == "resnet" else "model.model.3.weight"
    broken = {
        f"{names[2].split('.')[-1]} has values that are not finite": whole | {names[2]: whole[names[2]] * torch.nan},
        "has values that are not finite": whole | {names[-1]: infinite},
        f"has no {last}": {name: tensor for name, tensor in whole.items() if name != last},
        f"has no {names[0]}": {name: tensor for name, tensor in whole.items() if name != names[0]},
        "has a weight model.99.x": whole | {"model.99.x": torch.zeros(1)},
        "does not fit": whole | {names[3]: torch.zeros(1, 2, 3, 3)},
        "does not fit .*": {name: tensor for name, tensor in whole.items() if name != names[3]},
        "maps 3 channels to 1": FOREIGN[kind](channels=(3, 1)).state_dict(),
        "maps 4 channels to 3": FOREIGN[kind](channels=(4, 3)).state_dict(),
        "state dict; expected a file": {1: torch.zeros(1)},
    }
    for message, weights in broken.items():
        torch.save(weights, tmp_path / "a.pth")
        with pytest.raises(CheckpointError, match=message) as caught:
            convert_cyclegan_generator(tmp_path / "a.pth")
        assert "\n" not in str(caught.value)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


@pytest.mark.parametrize("name", ["a.pth", "映" * 80 + ".pth", os.fsdecode(b"caf\xe9.pth")])
def test_the_command_writes_a_folder_that_loads(name, tmp_path, capsys):
    torch.save(Foreign(4, 6).state_dict(), tmp_path / "plain.pth")
    os.rename(tmp_path / "plain.pth", tmp_path / name)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("mine")
    assert run("convert", tmp_path / name, tmp_path / "out") == 0
    assert "ResnetGenerator of width 4" in capsys.readouterr().out
    assert (tmp_path / "out" / "README.md").read_text() == "mine"
    for variant in (None, "fp16"):
        ResnetGenerator.from_pretrained(tmp_path / "out", variant=variant)
    assert sorted(os.listdir(tmp_path)) == sorted([name, "out"])


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    torch.save(Foreign(4, 6).state_dict(), tmp_path / "a.pth")
    (tmp_path / "file").write_text("old")
    (tmp_path / "torn.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:5000])
    for arguments in (["a.pth", "file"], ["a.pth", "file/out"], ["none.pth", "out"], ["torn.pth", "out"]):
        assert run("convert", *(tmp_path / argument for argument in arguments)) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1 and said[0].startswith("maskhub: ")
    assert (tmp_path / "file").read_text() == "old" and not (tmp_path / "out").exists()


WITHOUT_ROOM = """
import contextlib, io, resource, sys
from maskhub.cli import main
said, room = io.StringIO(), int(sys.argv[1])  # what is said has room
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
try:
    with contextlib.redirect_stderr(said):
        main(sys.argv[2:])
finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(said.getvalue(), end="")
"""


@pytest.mark.parametrize("room", [*(pytest.param(room, marks=pytest.mark.slow) for room in (200, 2_000)), 400_000])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(room, tmp_path):
    """A file size limit simulates a full disk: writes beyond it are partial, then fail."""
    torch.save(Foreign(8, 6).state_dict(), tmp_path / "a.pth")  # the result is 0.5 MB in float32
    assert run("convert", tmp_path / "a.pth", tmp_path / "out") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    for target in ("out", "new"):
        code, said = run_code(WITHOUT_ROOM, room, "convert", tmp_path / "a.pth", tmp_path / target)
        assert code == 2 and "could not be written" in said.splitlines()[-1], said
        assert "Traceback" not in said
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(os.listdir(tmp_path)) == ["a.pth", "out"]
