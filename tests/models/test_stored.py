"""Network and pipeline files from elsewhere: anything wrong with them is one CheckpointError, raised early."""

import json
import os
import shutil
import sys

import pytest
import torch
from forked import run_code
from safetensors.torch import load_file, save_file

import maskhub
from maskhub import (
    CheckpointError,
    ConfigError,
    FaceMaskPipeline,
    OnnxFaceMaskPipeline,
    ReimagingPipeline,
    ResnetGenerator,
)
from maskhub.direction import Direction
from maskhub.models.dense import DenseDiscriminator, DenseGenerator
from maskhub.models.frozen import read_tensors
from maskhub.models.light import LightGenerator
from maskhub.models.mask_detector import MaskDetector
from maskhub.models.network import Network
from maskhub.models.patch import PatchDiscriminator
from maskhub.models.stored import MAX_HEADER, read_header
from maskhub.pipelines.photo_pipeline import BUNDLED

WEIGHTS = "diffusion_pytorch_model.safetensors"
KINDS = sorted(
    (
        kind
        for name in maskhub.__all__
        if isinstance(kind := getattr(maskhub, name), type) and issubclass(kind, Network)
    ),
    key=lambda kind: kind.__name__,
)
SMALL = {
    "AttentionGenerator": {"width": 4, "blocks": 1, "contents": 2},
    "AttributeClassifier": {"width": 4, "hidden": (8,)},
    "DcganDiscriminator": {"width": 4},
    "DcganGenerator": {"width": 4},
    "LightGenerator": {"widths": (4, 8), "blocks": (1, 1), "heads": 2, "detail": 4, "positions": 4},
    "ResnetGenerator": {"width": 4, "blocks": 1},
    "UnetGenerator": {"width": 2, "depth": 5},
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Class → folder with a network of that class."""
    folder = tmp_path_factory.mktemp("networks")
    for kind in KINDS:
        if kind.__name__ not in ("FeatureNetwork", "Network"):  # half a gigabyte
            kind(**SMALL.get(kind.__name__, {})).save_pretrained(folder / kind.__name__)
    return folder


def changed(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refused(load, *arguments, **options):
    """The one-line error of a failed load."""
    with pytest.raises(CheckpointError) as caught:
        load(*arguments, **options)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500
    return str(caught.value)


NONSENSE = [None, -1, 0.5, 10**9, 10**30, 1e400, "big", "", [], [1, None], [10**9], {}, True, "9" * 10_000]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.__name__ not in ("FeatureNetwork", "Network")])
def test_every_field_of_every_network_has_bounds(kind, stored, tmp_path):
    shutil.copytree(stored / kind.__name__, tmp_path / "net")
    config = tmp_path / "net" / "config.json"
    before = json.loads(config.read_text())
    names = [name for name in before if not name.startswith("_")]
    assert names
    for name in names:
        for value in NONSENSE:
            if value == before[name] or (isinstance(before[name], bool) and isinstance(value, bool)):
                continue
            config.write_text(json.dumps(before | {name: value}))
            try:
                kind.from_pretrained(tmp_path / "net")
            except CheckpointError as error:
                assert "\n" not in str(error)
            else:  # within bounds, and with no effect on the weights: a dropout, a resolution
                assert isinstance(value, float) or name in ("noise", "dropout", "attribute", "hidden")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ResnetGenerator, {"blocks": 10**9}, "blocks is 1000000000; it must be from 0 to 64"),
        (ResnetGenerator, {"width": 10**9}, "width is 1000000000; it must be from 1 to 1024"),
        (ResnetGenerator, {"width": None}, "width is None; it must be a whole number"),
        (ResnetGenerator, {"norm": ["batch"]}, "norm is .*; it must be one of"),
        (LightGenerator, {"widths": [4] * 9, "blocks": [1] * 9}, "widths is .*; it must be 1 to 8 values"),
        (LightGenerator, {"noise": -1}, "noise is -1; it must be from 0 to 100"),
        (MaskDetector, {"resolution": "big"}, "resolution is 'big'; it must be a whole number"),
        (DenseGenerator, {"resolution": 10**6}, "resolution is 1000000; it must be from 4 to 128"),
        (DenseDiscriminator, {"hidden": [2**40]}, "hidden is .*; it must be"),
    ],
)
def test_the_message_names_field_value_and_bounds(kind, values, message, stored, tmp_path):
    with pytest.raises(ConfigError, match=message):
        kind(**values)
    shutil.copytree(stored / kind.__name__, tmp_path / "net")
    changed(tmp_path / "net" / "config.json", **values)
    with pytest.raises(CheckpointError, match=message):
        kind.from_pretrained(tmp_path / "net")


def test_claims_within_bounds_take_no_memory(tmp_path):
    """A configuration of 77 GB with weights of a few kilobytes, in a process limited to 3 GB."""
    code = """
import json, resource, sys, tempfile, time
from maskhub import CheckpointError, ResnetGenerator
ResnetGenerator(width=4, blocks=1).save_pretrained(sys.argv[1])
config = json.load(open(sys.argv[1] + "/config.json")) | {"width": 1024, "blocks": 64}
json.dump(config, open(sys.argv[1] + "/config.json", "w"))
resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
begun = time.monotonic()
try:
    ResnetGenerator.from_pretrained(sys.argv[1])
except CheckpointError as error:
    print(time.monotonic() - begun < 20, error)
"""
    _, said = run_code(code, tmp_path)
    assert said.startswith("True ") and "don't fit the configuration" in said, said


def test_files_that_are_something_else(stored, tmp_path):
    shutil.copytree(stored / "ResnetGenerator", tmp_path / "net")
    config, weights = tmp_path / "net" / "config.json", tmp_path / "net" / WEIGHTS
    good = config.read_text()
    for text in ("", "null", "[]", "{", '"text"', "[" * 100_000, "\0", '{"width": NaN}', " " * (2 << 20)):
        config.write_text(text)
        refused(ResnetGenerator.from_pretrained, tmp_path / "net")
    config.write_bytes(b"\xff\xfe\x00")
    refused(ResnetGenerator.from_pretrained, tmp_path / "net")
    config.write_text(good)
    for private in ({"_class_name": 5}, {"_class_name": ["a", "b"]}, {"_class_name": "PatchDiscriminator"}):
        changed(config, **private)
        assert "not a ResnetGenerator" in refused(ResnetGenerator.from_pretrained, tmp_path / "net")
        config.write_text(good)
    changed(config, _use_default_values=5)
    refused(ResnetGenerator.from_pretrained, tmp_path / "net")
    config.write_text(good)
    data = weights.read_bytes()
    for broken in (b"", data[:4], data[:50], data[:-100], data + b"more", b"\xff" * 8, (2**40).to_bytes(8, "little")):
        weights.write_bytes(broken)
        refused(ResnetGenerator.from_pretrained, tmp_path / "net")
    weights.unlink()
    assert "diffusion_pytorch_model.safetensors is missing" in refused(
        ResnetGenerator.from_pretrained, tmp_path / "net"
    )
    config.unlink()
    refused(ResnetGenerator.from_pretrained, tmp_path / "net")


def header_only(path, header):
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_headers_are_bounded_and_checked(tmp_path):
    path = tmp_path / "a.safetensors"
    entry = '"layer.{}": {{"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}'
    many = ("{" + ", ".join(entry.format(number) for number in range(84 * MAX_HEADER // 4 // 70)) + "}").encode()
    assert len(many) > MAX_HEADER
    for header in (
        many, b" " * (MAX_HEADER + 1), b"[]", b"null", b'{"a": 5}', b'{"a": {"dtype": "F32"}}', b"{" * 1000,
        b'{"a": {"dtype": "F32", "shape": 5}}', b'{"a": {"dtype": "F32", "shape": ["x"]}}', b"\xff\xfe",
        b'{"a": {"dtype": "F32", "shape": [1e400]}}',
    ):  # fmt: skip
        header_only(path, header)
        refused(read_header, path)
        refused(read_tensors, path)
    assert "no such file" in refused(read_tensors, tmp_path / "none").lower()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_numbers_are_refused(value, stored, tmp_path):
    for kind in (ResnetGenerator, PatchDiscriminator, MaskDetector):
        shutil.copytree(stored / kind.__name__, tmp_path / kind.__name__)
        path = tmp_path / kind.__name__ / WEIGHTS
        tensors = load_file(path)
        name = next(name for name in sorted(tensors, reverse=True) if tensors[name].ndim == 4)
        tensors[name] = tensors[name].clone().float()
        tensors[name].view(-1)[-1] = value
        save_file(tensors, path, metadata={"format": "pt"})
        assert f"{name} has values that are not finite" in refused(kind.from_pretrained, tmp_path / kind.__name__)
        refused(read_tensors, path)
        shutil.rmtree(tmp_path / kind.__name__)


def test_missing_extra_and_misshapen_tensors(stored, tmp_path):
    shutil.copytree(stored / "ResnetGenerator", tmp_path / "net")
    tensors = load_file(tmp_path / "net" / WEIGHTS)
    for change, message in (
        (lambda t: t.pop("tail.0.weight"), "tail.0.weight is missing"),
        (lambda t: t.update(extra=torch.zeros(3)), "the network has no extra"),
        (lambda t: t.update({"tail.0.bias": torch.zeros(1)}), "tail.0.bias is 1, not 3"),
        (lambda t: t.update({"tail.0.bias": torch.zeros(3, dtype=torch.int8)}), "tail.0.bias has type I8"),
    ):
        broken = dict(tensors)
        change(broken)
        save_file(broken, tmp_path / "net" / WEIGHTS, metadata={"format": "pt"})
        assert message in refused(ResnetGenerator.from_pretrained, tmp_path / "net")


def test_a_folder_whose_name_is_not_utf8(stored, tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(stored / "ResnetGenerator", odd / "net")
    network = ResnetGenerator.from_pretrained(odd / "net")
    assert network.config["_name_or_path"] == str(odd / "net")
    assert set(read_tensors(odd / "net" / WEIGHTS)) == set(network.state_dict())
    FaceMaskPipeline(network, None, resolution=64).save_pretrained(odd / "pipeline")
    FaceMaskPipeline.from_pretrained(odd / "pipeline")
    shutil.copytree(BUNDLED, odd / "onnx")
    OnnxFaceMaskPipeline.from_pretrained(odd / "onnx").network(Direction.UNMASK)


# ---- pipelines ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipeline(tmp_path):
    generators = [ResnetGenerator(width=4, blocks=1) for _ in range(2)]
    FaceMaskPipeline(*generators, resolution=64).save_pretrained(tmp_path / "pipeline")
    return tmp_path / "pipeline"


COMPONENTS = [
    ["maskhub", "read_provenance"], ["maskhub", "FaceMaskPipeline"], ["maskhub", "PatchDiscriminator"],
    ["maskhub", "AttributeClassifier"], ["maskhub", "__version__"], ["maskhub", "no such"], ["maskhub", None],
    ["maskhub"], ["os", "system"], ["antigravity", "x"], ["diffusers", "AutoencoderKL"], ["maskhub.cli", "main"],
    ["maskhub", ["ResnetGenerator"]], "ResnetGenerator", 5, {}, [None, "ResnetGenerator"], ["subprocess", "Popen"],
]  # fmt: skip


@pytest.mark.parametrize("component", COMPONENTS, ids=str)
def test_only_networks_are_components(component, pipeline):
    loaded = set(sys.modules)
    changed(pipeline / "model_index.json", masker=component)
    assert "which is not a valid network for it" in refused(FaceMaskPipeline.from_pretrained, pipeline)
    assert "antigravity" not in set(sys.modules) - loaded


SETTINGS = [
    {"resolution": value} for value in (10**6, 0, -64, "big", None, 64.5, [64], True, 10**30)
] + [{"wear": value} for value in ("no style", 5, [], {})] + [
    {"extra": ["os", "system"]}, {"extra": 5}, {"_class_name": "ReimagingPipeline"}, {"_class_name": None},
    {"_class_name": ["pipeline", "Evil"]},
]  # fmt: skip


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings_of_a_pipeline_have_bounds(settings, pipeline):
    changed(pipeline / "model_index.json", **settings)
    assert "no pipeline could be loaded from" in refused(FaceMaskPipeline.from_pretrained, pipeline)
    if "_class_name" not in settings and "extra" not in settings:
        with pytest.raises(ConfigError):
            FaceMaskPipeline(**settings)


def test_other_files_of_a_pipeline(pipeline):
    index = pipeline / "model_index.json"
    good = index.read_text()
    for text in ("", "null", "[]", "{", "[" * 100_000, " " * (2 << 20)):
        index.write_text(text)
        refused(FaceMaskPipeline.from_pretrained, pipeline)
    index.write_text(good)
    (pipeline / "masker" / "config.json").write_text("null")
    assert "masker" in refused(FaceMaskPipeline.from_pretrained, pipeline)
    shutil.rmtree(pipeline / "masker")
    refused(FaceMaskPipeline.from_pretrained, pipeline)
    index.unlink()
    refused(FaceMaskPipeline.from_pretrained, pipeline)


@pytest.mark.parametrize("channels", [(3, 1), (1, 3), (4, 4)])
def test_a_masker_of_other_than_three_channels_is_refused(channels, pipeline):
    odd = ResnetGenerator(width=4, blocks=1, in_channels=channels[0], out_channels=channels[1])
    with pytest.raises(ConfigError, match=f"the unmasker maps {channels[0]} channels to {channels[1]}"):
        FaceMaskPipeline(None, odd)
    odd.save_pretrained(pipeline / "unmasker")
    assert f"the unmasker maps {channels[0]} channels" in refused(FaceMaskPipeline.from_pretrained, pipeline)


@pytest.mark.parametrize(
    "settings",
    [
        {"resolution": 10**6}, {"resolution": "big"}, {"models": None}, {"models": [1]}, {"models": {"a": 5}},
        {"models": {"a": {"tone": ["x"]}}}, {"models": {"../x": {}}}, {"models": {"gone": {}}}, {"models": {"": {}}},
        {"models": {str(n): {} for n in range(2000)}}, {"classifier": ["maskhub", "ResnetGenerator"]},
        {"classifier": ["maskhub", "read_provenance"]},
    ],
    ids=lambda settings: str(settings)[:40],
)  # fmt: skip
def test_re_imaging_pipelines_have_bounds_too(settings, tmp_path):
    pipe = ReimagingPipeline()
    pipe.add("one", DenseGenerator(hidden=(8,)))
    pipe.save_pretrained(tmp_path / "pipeline")
    ReimagingPipeline.from_pretrained(tmp_path / "pipeline")
    changed(tmp_path / "pipeline" / "model_index.json", **settings)
    refused(ReimagingPipeline.from_pretrained, tmp_path / "pipeline")
