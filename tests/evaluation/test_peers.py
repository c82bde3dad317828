"""``--peer``: other people's inpainting networks in the table of pairs, small ones of each form."""

import json
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from maskhub.cli import main
from maskhub.data.portraits import masked_portrait
from maskhub.errors import CheckpointError, ConfigError
from maskhub.evaluation.peers import OnnxPeer, open_peer, unmasked_by
from maskhub.masks import wear

SIDE = 64


class Mean(nn.Module):
    """Fills a hole with the mean colour of the known pixels: its result shows whether it was given the right ones."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, *given):
        if self.form == "migan":
            (both,) = given
            hole, picture = 0.5 - both[:, :1], both[:, 1:]
        else:
            picture, hole = given
            if self.form == "pipeline":
                picture, hole = picture.float(), 1 - hole.float() / 255
        known = 1 - hole
        mean = (picture * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
        made = picture * known + mean * hole
        return {"lama": made, "lama-bytes": made * 255, "pipeline": made.round().to(torch.uint8), "migan": made}[
            self.form
        ]


def write_onnx(network, path, given, names):
    """By the exporter that LaMa and MI-GAN were made with, which takes a hundredth of the newer one's time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network.eval(), given, path, input_names=list(names), dynamo=False, verbose=False)


@pytest.fixture(scope="session")
def peer_file(tmp_path_factory):
    """A function from a form to an ONNX file of it."""
    folder = tmp_path_factory.mktemp("peers")

    def write(form, side=SIDE, names=("image", "mask")):
        path = folder / f"{form}-{side}.onnx"
        kind = torch.uint8 if form == "pipeline" else torch.float32
        shapes = [4] if form == "migan" else [3, 1]
        given = tuple(torch.zeros(1, channels, side, side, dtype=kind) for channels in shapes)
        write_onnx(Mean(form), path, given, names[: len(given)])
        return path

    return write


@pytest.mark.parametrize("form", ["lama", "lama-bytes", "pipeline", "migan"])
def test_every_form_gets_picture_and_hole_as_it_wants_them(form, peer_file):
    peer = OnnxPeer(peer_file(form))
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    hole = np.zeros((SIDE, SIDE), bool)
    hole[20:50, 10:40] = True
    made = peer(crop, hole)
    assert peer.side == SIDE and peer.megabytes > 0 and made.dtype == np.uint8
    assert np.abs(made[~hole].astype(int) - crop[~hole]).max() <= 1
    assert np.abs(made[hole] - crop[~hole].mean(0)).max() <= 1


def test_only_the_hole_changes_and_the_mask_goes(peer_file):
    masked = np.asarray(masked_portrait("london_00003.webp"))
    made = unmasked_by(OnnxPeer(peer_file("lama", 128)), masked)
    changed = (made != masked).any(2)
    assert 0.1 < changed.mean() < 0.4 and not changed[:64].any()
    assert made[changed].std(0).max() < masked[changed].std(0).max()  # one colour in place of a mask's folds


def test_peers_stand_in_the_table_of_pairs(peer_file, tmp_path, tiny_pipeline, capsys):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    files = ",".join(str(peer_file(form)) for form in ("lama", "pipeline"))
    args = ["--photos", "builtin:portraits", "--limit", "3", "--model", str(tmp_path / "model"), "--measures", "psnr"]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "pairs", *args, "--peer", files, "--output", str(tmp_path / "r.json")])
    assert not stop.value.code and "lama-64.onnx" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    for name in ("made", "lama-64.onnx", "pipeline-64.onnx"):
        row = report["figures"][name]
        assert row["psnr_inside"]["n"] == 3 and row["megabytes"]["value"] > 0
        assert row["seconds"]["n"] == 2 and row["seconds"]["value"] > 0  # without the first, which warms up
    assert "lama-64.onnx" in report["baselines"] and "seconds" not in report["figures"]["copy of the input"]


class Product(nn.Module):
    def forward(self, one, other):
        return one * other


class Pool(nn.Module):
    def forward(self, image, mask):
        return F.avg_pool2d(image * mask, 2)


@pytest.mark.parametrize(
    ("network", "shapes", "why"),
    [
        (nn.Identity(), [(1, 3, 32, 32)], "its inputs are a tensor"),
        (Product(), [(1, 4), (1, 4)], "its inputs are a tensor"),
        (Pool(), [(1, 3, 32, 32), (1, 1, 32, 32)], "its result has the shape 1×3×16×16"),
    ],
)
def test_an_onnx_file_of_another_form_is_one_line(network, shapes, why, tmp_path):
    path = str(tmp_path / "other.onnx")
    write_onnx(network, path, tuple(map(torch.zeros, shapes)), ["a", "b"][: len(shapes)])
    form = "the peer other.onnx has neither the form of LaMa nor that of MI-GAN"
    with pytest.raises(ConfigError, match=f"{form}: {why}"):
        open_peer(path)


def test_bad_peers_are_one_line(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no peer .*lama.onnx"):
        open_peer(str(tmp_path / "lama.onnx"))
    (tmp_path / "a.onnx").write_bytes(b"no network")
    with pytest.raises(CheckpointError, match="can't be read by onnxruntime"):
        open_peer(str(tmp_path / "a.onnx"))
    with pytest.raises(CheckpointError, match=r"the peer diffusers:.* can't be loaded"):
        open_peer(f"diffusers:{tmp_path}")
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "pairs", "--photos", "builtin:portraits", "--direction", "mask", "--peer", "a.onnx"])
    assert stop.value.code == 2


def test_a_diffusers_pipeline_fills_the_hole(tmp_path, astronaut):
    from diffusers import RePaintPipeline, RePaintScheduler, UNet2DModel

    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=32, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    RePaintPipeline(network, RePaintScheduler()).save_pretrained(tmp_path)
    peer = open_peer(f"diffusers:{tmp_path}", steps=12)
    assert peer.side == 32 and peer.megabytes == pytest.approx(4e-6 * network.num_parameters())
    masked = np.asarray(wear(astronaut, style="surgical", seed=2).image)
    made = unmasked_by(peer, masked)
    changed = (made != masked).any(2)
    assert 0.005 < changed.mean() < 0.2 and (made == unmasked_by(peer, masked)).all()
