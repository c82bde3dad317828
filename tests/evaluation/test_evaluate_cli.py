"""``maskhub evaluate``: reports written, and one line where they can't be."""

import json

import numpy as np
import pytest
from PIL import Image

from maskhub import FeatureNetwork
from tests.evaluation.conftest import clouds


@pytest.fixture
def network(tmp_path):
    import torch

    torch.manual_seed(0)
    FeatureNetwork("vgg16", layer=3, resolution=32).save_pretrained(tmp_path / "network")
    return tmp_path / "network"


@pytest.fixture
def model(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_quality_report_and_card(run, network, model, tmp_path):
    real, made = (clouds(tmp_path / name, 12, seed, columns=["x", "y"] * 6) for seed, name in enumerate("ab"))
    args = ["--real", real, "--generated", made, "--network", network, "--groups", "kind", "--resamples", 2]
    code, out, err = run("evaluate", "quality", *args, "--output", tmp_path / "quality.json")
    assert code == 0 and "frechet" in out and "kind x" in out and "fewer than 2048" in err
    found = json.loads((tmp_path / "quality.json").read_text())
    assert found["figures"]["kernel"]["network"] == "network (vgg16)" and found["settings"]["split"] == "all"
    code, out, _ = run("evaluate", "report", tmp_path / "quality.json", "--output", tmp_path / "page.html")
    assert code == 0 and "Fréchet" in (tmp_path / "page.html").read_text()
    code, out, _ = run("evaluate", "card", model, tmp_path / "quality.json")
    assert code == 0 and "wrote 2 figures" in out and "model-index" in (model / "README.md").read_text()


def test_quality_of_what_a_pipeline_makes(run, network, model, heads, tmp_path):
    args = ["--real", heads, "--input", heads, "--model", model, "--network", network, "--limit", 3, "--resamples", 2]
    code, _, _ = run("evaluate", "quality", *args, "--output", tmp_path / "q.json")
    found = json.loads((tmp_path / "q.json").read_text())
    assert code == 0 and found["settings"]["direction"] == "mask" and found["settings"]["n_generated"] == 3


def test_pairs(run, model, heads, tmp_path):
    args = ["--photos", heads, "--model", model, "--measures", "psnr,ssim", "--limit", 2]
    code, out, _ = run("evaluate", "pairs", *args, "--output", tmp_path / "p.json")
    assert code == 0 and "psnr_inside" in out
    found = json.loads((tmp_path / "p.json").read_text())
    assert list(found["figures"])[:2] == ["made", "copy of the input"] and found["n"] == 2


def test_outline(run, heads, tmp_path):
    (tmp_path / "after").mkdir()
    for path in heads.glob("*.png"):
        pixels = np.array(Image.open(path))
        pixels[60:100, 40:90] = (0, 90, 160)
        Image.fromarray(pixels).save(tmp_path / "after" / path.name)
    code, out, _ = run("outline", heads, tmp_path / "after", tmp_path / "out")
    assert code == 0 and "4 made" in out
    drawn, after = (np.asarray(Image.open(tmp_path / name / "0.png")).astype(int) for name in ("out", "after"))
    touched = np.abs(drawn - after).max(2) > 30
    assert touched[55:65, 45:85].any() and not touched[75:85, 55:75].any() and not touched[:45].any()
    Image.new("RGB", (20, 20)).save(tmp_path / "after" / "1.png")
    code, out, err = run("outline", heads / "1.png", tmp_path / "after" / "1.png", tmp_path / "o.png")
    assert code == 2 and "must have the same size" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["quality", "--real", "A", "--output", "O"], "give either --generated, or --input"),
        (["quality", "--real", "A", "--generated", "A", "--model", "m", "--output", "O"], "--model translates --input"),
        (["quality", "--real", "A", "--generated", "none", "--output", "O"], "neither a folder here"),
        (["quality", "--real", "A", "--generated", "A", "--network", "x", "--output", "O"], "no feature network 'x'"),
        (["quality", "--real", "A", "--generated", "A", "--network", "vgg16", "--output", "O"], "vgg16_lpips"),
        (["quality", "--real", "A", "--generated", "ONE", "--network", "N", "--output", "O"], "at least 2 of each"),
        (["pairs", "--photos", "A", "--output", "O"], "vgg16_lpips.safetensors are missing"),
        (
            ["pairs", "--photos", "A", "--measures", "identity", "--output", "O"],
            "mobilefacenet.safetensors are missing",
        ),
        (
            ["pairs", "--photos", "A", "--measures", "beauty", "--output", "O"],
            "must be from psnr, ssim, lpips, identity",
        ),
        (["pairs", "--input", "A", "--output", "O"], "give either --photos, or --input with --truth"),
        (["masks", "--photos", "A", "--model", "x/y", "--output", "O"], "--model needs --direction mask or unmask"),
        (["masks", "--photos", "A", "--device", "cpu"], "--device can't be used without --direction: leave it out"),
        (["detection", "--unmasked", "A", "--model", "m", "--bundled"], "--bundled can't be used with --model"),
        (["detection", "--unmasked", "A", "--device", "cpu"], "--device can't be used without --model or --bundled"),
        (["mask-detector", "--unmasked", "A", "--device", "cuda:99"], "there is no device 'cuda:99'"),
        (
            ["quality", "--real", "A", "--generated", "A", "--direction", "unmask"],
            "--direction can't be used with --generated",
        ),
        (
            ["quality", "--real", "A", "--generated", "A", "--weights-dir", "A"],
            "--weights-dir can't be used with --network efficientnet-lite0",
        ),
        (["pairs", "--input", "A", "--truth", "A", "--seed", "3"], "--seed can't be used without --photos"),
        (
            ["pairs", "--input", "A", "--truth", "A", "--generated", "A", "--model", "m"],
            "--model can't be used with --generated",
        ),
        (
            ["pairs", "--photos", "A", "--measures", "psnr", "--encoder", "dlib"],
            "--encoder can't be used without identity in --measures",
        ),
        (["pairs", "--photos", "A", "--network", "vgg16"], "--network can't be used without frechet in --measures"),
        (
            ["pairs", "--photos", "A", "--measures", "psnr,ssim", "--weights-dir", "A"],
            "--weights-dir can't be used with --measures psnr,ssim",
        ),
        (["pairs", "--photos", "A", "--peer-steps", "9"], "--peer-steps can't be used without --peer diffusers:ID"),
        (["recognition", "A", "--held-out"], "--held-out can't be used with --protocol pairs: leave it out"),
        (
            ["recognition", "A", "--protocol", "table-3", "--pairs", "x.csv", "--directions", "2"],
            "--pairs, --directions can't be used with --protocol table-3: leave them out",
        ),
        (
            ["recognition", "A", "--approaches", "baseline", "--directions", "2"],
            "--directions can't be used without the approach projection",
        ),
        (["recognition", "A", "--masks", "model", "--style", "kn95"], "--style can't be used with --masks model"),
        (
            ["recognition", "A", "--approaches", "baseline,projection", "--model", "m"],
            "--model can't be used with these approaches, which need no network",
        ),
        (["survey", "--output", "O"], "no answers"),
        (["cycle", "--unmasked", "A", "--limit", "many"], "--limit is 'many'; it must be a whole number"),
        (["cycle", "--unmasked", "A", "--limit", "0"], "--limit is 0; it must be at least 1"),
        (["masks", "--photos", "A", "--direction", "up"], "--direction is 'up'; it must be one of mask, unmask"),
        (["report"], "give at least one report"),
        (["report", "none.json"], "can't be read as a report"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(run, network, tmp_path, monkeypatch, args, message):
    monkeypatch.delenv("MASKHUB_WEIGHTS", raising=False)
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path / "home"))
    places = {
        "A": clouds(tmp_path / "a", 3),
        "ONE": clouds(tmp_path / "one", 1),
        "N": network,
        "O": tmp_path / "out.json",
    }
    code, _, err = run("evaluate", *[places.get(arg, arg) for arg in args])
    lines = [line for line in err.splitlines() if line.startswith("maskhub:")]
    assert code == 2 and len(lines) == 1 and message in lines[0]
    assert "Traceback" not in err and not (tmp_path / "out.json").exists()
