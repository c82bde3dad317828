"""Graphs in 8 bits give nearly the same pictures, and are refused where they don't belong."""

import shutil

import numpy as np
import pytest
import torch

from maskhub import CheckpointError, ConfigError, FaceMaskPipeline, LightGenerator, ResnetGenerator
from maskhub.cli import main
from maskhub.models.channels_last import channels_last, elementwise_last
from maskhub.models.export import export_onnx, network_fingerprint, numpy_weights
from maskhub.models.int8 import export_int8, int8_graph
from maskhub.models.onnx_file import FILE, INT8, NARROW, OnnxFile
from maskhub.onnx_session import open_session
from maskhub.pipelines import backends
from maskhub.pipelines.backends import candidates, make_runner
from maskhub.pipelines.photo_pipeline import BUNDLED, TWO_STEP
from maskhub.tensors import to_array, to_tensor


def light(noise=0.0, seed=0):
    """A small light generator with a visible effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        options = {"widths": (8, 16), "blocks": (1, 1), "heads": 2, "positions": 4, "detail": 8, "noise": noise}
        network = LightGenerator(**options, fold=2, detail_blocks=1)
        torch.nn.init.normal_(network.out.weight, 0, 0.1)
    return network.eval()


def resnet():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ResnetGenerator(width=8, blocks=1).eval()


@pytest.fixture(scope="module")
def crops():
    """Eight smooth pictures, uint8 64×64×3."""
    rough = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(rough, size=64, mode="bicubic").clamp(0, 1)
    return list((smooth * 255).byte().permute(0, 2, 3, 1).contiguous().numpy())


@pytest.fixture(scope="module", autouse=True)
def one_export(tmp_path_factory):
    """Each network's float32 graph is made once: that takes seconds, and is the same for all tests."""
    folder = tmp_path_factory.mktemp("float32")

    def export(network, path, resolution):
        kept = folder / f"{network_fingerprint(network)}-{resolution}.onnx"
        if not kept.is_file():
            export_onnx(network, kept, resolution)
        shutil.copy(kept, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maskhub.models.int8.export_onnx", export)
        yield


@pytest.fixture(scope="module", params=[light(noise=1.0), resnet()], ids=["light", "resnet"])
def exported(request, crops, tmp_path_factory):
    """A network, the folder of its graph, and what the export returned."""
    pytest.importorskip("onnxscript")
    network, folder = request.param, tmp_path_factory.mktemp("int8")
    noise = network.draw_noise(1, 64, 64, torch.Generator().manual_seed(0)) if network.takes_noise else []
    return network, folder, export_int8(network, folder / INT8, to_array(crops[:2]), [one.numpy() for one in noise])


def test_additions_compute_channels_last_with_the_same_bits(crops, tmp_path):
    onnx = pytest.importorskip("onnx")
    network = light()
    export_onnx(network, tmp_path / FILE, 64)
    graph, _ = channels_last(onnx.load(tmp_path / FILE))
    before = graph.SerializeToString()
    after = elementwise_last(graph).SerializeToString()
    made = [open_session(model).run(None, {"images": to_array(crops[:2])})[0] for model in (before, after)]
    assert np.array_equal(*made)
    makers = {name: node.op_type for node in graph.graph.node for name in node.output}
    adds = [node for node in graph.graph.node if node.op_type == "Add" and "Add" in map(makers.get, node.input)]
    assert len(adds) > 1, "no addition takes another's result directly"


def test_eight_bits_make_nearly_the_same(exported, crops):
    network, folder, errors = exported
    assert len(errors) > 5 and 0 < errors[None] <= 0.45
    # a batch of photos that it was not calibrated on
    batch = to_tensor(np.stack(crops[4:]))
    noise = network.draw_noise(4, 64, 64, torch.Generator().manual_seed(0)) if network.takes_noise else []
    made = make_runner(network, "onnxruntime-int8", folder, 64)(batch, noise)
    wanted = make_runner(network)(batch, noise)
    assert (wanted - batch).abs().mean() * 127.5 > 5
    assert 0 < (made - wanted).abs().mean() * 127.5 < 1.5
    assert "onnxruntime-int8" in candidates(network, folder, 64)


def test_a_file_computes_what_the_graph_with_its_weights_does(exported, crops):
    network, folder, _ = exported
    noise = network.draw_noise(1, 64, 64, torch.Generator().manual_seed(0)) if network.takes_noise else []
    noise = [one.numpy() for one in noise]
    graph, _ = int8_graph(network, to_array(crops[:2]), noise)
    images = to_array(crops[4:5])
    feeds = {"images": images, **{f"noise_{number}": level for number, level in enumerate(noise)}}
    (wanted,) = open_session(graph.SerializeToString()).run(None, feeds)
    file = OnnxFile(folder / INT8, numpy_weights(network))
    assert np.array_equal(file(images, noise)[0], wanted)
    assert (folder / INT8).stat().st_size < len(graph.SerializeToString())


def test_the_bundled_graphs_are_those_of_the_bundled_weights(masked_astronaut):
    pipe, masker = FaceMaskPipeline.bundled(), TWO_STEP / "masker"
    network = LightGenerator.from_pretrained(masker, variant="fp16", torch_dtype=torch.float32)
    for given, folder in ((network, masker), (pipe.unmasker, BUNDLED / "unmasker")):
        assert "onnxruntime-int8" in candidates(given, folder, 256)
        assert (folder / INT8).stat().st_size < 1_000_000
    wanted = pipe.unmask(masked_astronaut, details=True)
    found = pipe.use("onnxruntime-int8").unmask(masked_astronaut, details=True)
    assert pipe.backends["unmasker"] == "onnxruntime-int8"
    one, other = (np.asarray(output.images[0]).astype(int) for output in (wanted, found))
    inside = wanted.regions[0] > 0.5
    assert np.abs(one - other)[inside].mean() <= 1


def test_large_products_do_not_overflow():
    # two products of 255 and 127 exceed 16 bits, in which processors without VNNI add them up
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    constants = {"scale": np.float32(1), "total": np.float32(16 * 255), "zero": np.uint8(0), "middle": np.int8(0)}
    constants["weights"] = np.full((8, 16, 1, 1), 127, np.int8)
    inputs = ["images", "scale", "zero", "weights", "scale", "middle", "total", "zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", inputs, ["found"])],
        "large products",
        [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, [1, 16, 8, 8])],
        [helper.make_tensor_value_info("found", onnx.TensorProto.UINT8, [1, 8, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = open_session(model.SerializeToString())
    assert (session.run(None, {"images": np.full((1, 16, 8, 8), 255, np.uint8)})[0] == 127).all()


def weights_in_8_bits(path, network, scratch):
    """The codes of all weights that a file computes with in 8 bits, as onnxruntime makes them."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(path, load_external_data=False)
    names = [node.input[0] for node in graph.graph.node if node.op_type == "DequantizeLinear" and node.attribute]
    del graph.graph.output[:]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    scratch.write_bytes(graph.SerializeToString())
    session = OnnxFile(scratch, numpy_weights(network)).session
    feeds = {put.name: np.zeros([1, *put.shape[1:]], np.float32) for put in session.get_inputs()}
    return [codes for codes in session.run(None, feeds) if codes.ndim == 4]


def test_the_bundled_weights_overflow_on_no_processor(tmp_path):
    """With AVX2 or AVX-512, but without VNNI, two products of 8 bits are added up in 16."""
    masker = LightGenerator.from_pretrained(TWO_STEP / "masker", variant="fp16", torch_dtype=torch.float32)
    for network, folder in ((masker, TWO_STEP / "masker"), (FaceMaskPipeline.bundled().unmasker, BUNDLED / "unmasker")):
        every = weights_in_8_bits(folder / INT8, network, tmp_path / INT8)
        assert len(every) > 20
        for codes in every:
            pairs = codes.transpose(0, 2, 3, 1).reshape(len(codes), -1, 2).astype(int)
            assert (255 * pairs.clip(0)).sum(2).max() < 2**15
            assert (255 * pairs.clip(None, 0)).sum(2).min() >= -(2**15)


def test_other_files_are_computed_without_overflows(exported, tmp_path, monkeypatch):
    """Those of earlier versions have larger weights: onnxruntime is told to take care."""
    network, folder, _ = exported
    opened = []
    monkeypatch.setattr(
        "maskhub.models.onnx_file.open_session", lambda *given, narrow: opened.append(narrow) or open_session(*given)
    )
    OnnxFile(folder / INT8, numpy_weights(network))
    (tmp_path / INT8).write_bytes((folder / INT8).read_bytes().replace(NARROW.encode(), NARROW.upper().encode()))
    OnnxFile(tmp_path / INT8, numpy_weights(network))
    assert opened == [True, False]


def test_a_graph_of_other_weights_is_refused(exported, tmp_path):
    network, folder, _ = exported
    other = light(noise=1.0, seed=1) if isinstance(network, LightGenerator) else ResnetGenerator(width=8, blocks=1)
    with pytest.raises(ConfigError, match="convert --to int8"):
        make_runner(network, "onnxruntime-int8", tmp_path, 64)
    with pytest.raises(ConfigError, match="not loaded from a folder"):
        make_runner(network, "onnxruntime-int8")
    with pytest.raises(ConfigError, match="of 64 pixels"):
        make_runner(network, "onnxruntime-int8", folder, 128)
    with pytest.raises(CheckpointError, match="other weights"):
        make_runner(other, "onnxruntime-int8", folder, 64)
    assert "onnxruntime-int8" not in candidates(other, folder, 64)
    (tmp_path / INT8).write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match="can't be read by onnxruntime"):
        OnnxFile(tmp_path / INT8)


def test_what_cannot_be_computed_in_8_bits_is_said(crops, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("maskhub.models.int8.LIMIT", -1.0)
    with pytest.raises(CheckpointError, match="can't compute in 8 bits"):
        export_int8(resnet(), tmp_path / INT8, to_array(crops[:2]))
    assert not (tmp_path / INT8).exists()


def test_auto_takes_8_bits_only_within_the_rule(monkeypatch):
    network, off = light(), {"onnxruntime-int8": 0.0}

    def runner(network, name="torch", *_):
        def run(batch, noise=()):
            return batch + off.get(name, 0.0)

        run.name = name
        return run

    monkeypatch.setattr(backends, "make_runner", runner)
    monkeypatch.setattr(backends, "candidates", lambda *_: ["torch", "onnxruntime-int8"])
    monkeypatch.setattr(backends, "_seconds", lambda run, *_: ({"torch": 1.0}.get(run.name, 0.5), 0.0))
    batch = torch.zeros(1, 3, 64, 64)
    assert backends.fastest(network, batch, [])[0] == "onnxruntime-int8"
    off["onnxruntime-int8"] = 1.1 / 127.5
    assert backends.fastest(network, batch, [])[0] == "torch"


@pytest.mark.slow
def test_convert_to_int8(tmp_path, capsys, masked_astronaut):
    pytest.importorskip("onnxscript")
    FaceMaskPipeline(unmasker=resnet(), resolution=64).save_pretrained(tmp_path / "pipe")
    with pytest.raises(SystemExit) as end:
        main(["convert", str(tmp_path / "pipe"), str(tmp_path / "int8"), "--to", "int8"])
    assert end.value.code == 0 and "trunk.0.body.0 alone" in capsys.readouterr().out
    fast = FaceMaskPipeline.from_pretrained(tmp_path / "int8", backend="onnxruntime-int8")
    exact = FaceMaskPipeline.from_pretrained(tmp_path / "int8")
    one, other = (np.asarray(pipe.unmask(masked_astronaut)).astype(int) for pipe in (fast, exact))
    assert 0 < np.abs(one - other).mean() < 1 and fast.backends == {"unmasker": "onnxruntime-int8"}
