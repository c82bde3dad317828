"""The command line: what it writes, and one line where it can't."""

import numpy as np
import pytest
import torch
from PIL import Image

from maskhub import ResnetGenerator
from maskhub.cli import main
from tests.models.test_convert import Foreign


@pytest.fixture
def model(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def run(capsys):
    def call(*args):
        with pytest.raises(SystemExit) as stop:
            main([str(arg) for arg in args])
        out = capsys.readouterr()
        return stop.value.code, out.out, out.err

    return call


@pytest.fixture
def photo(astronaut, tmp_path):
    astronaut.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("command", ["mask", "unmask"])
def test_one_photo(run, model, photo, tmp_path, command):
    code, out, _ = run(command, photo, tmp_path / "new" / "out.png", "--model", model)
    assert code == 0
    assert "wrote" in out
    assert Image.open(tmp_path / "new" / "out.png").size == (512, 512)


def test_a_folder_with_a_broken_photo(run, model, photo, tmp_path):
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.jpg").write_text("no photo")
    code, out, err = run("unmask", tmp_path / "in", tmp_path / "out", "--model", model)
    assert code == 2
    assert "1 made, 0 there already, 1 failed" in out
    assert "failures.csv" in err
    assert (tmp_path / "out" / "good.png").exists()


def test_cycle(run, model, photo, tmp_path):
    code, out, _ = run("cycle", photo, tmp_path / "sheet.png", "--model", model)
    assert code == 0
    assert "cycle error" in out
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (512, 3 * 512, 3)
    assert np.array_equal(sheet[:, :512], np.asarray(Image.open(photo)))


def test_convert(run, tmp_path):
    torch.save(Foreign(4, 6).state_dict(), tmp_path / "latest_net_G_A.pth")
    code, out, _ = run("convert", tmp_path / "latest_net_G_A.pth", tmp_path / "hub", "--architecture", "resnet_6blocks")
    assert code == 0
    assert "width 4" in out
    ResnetGenerator.from_pretrained(tmp_path / "hub", variant="fp16", torch_dtype=torch.float32)
    ResnetGenerator.from_pretrained(tmp_path / "hub")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mask", "none.jpg", "out.png"], "there is no photo or folder"),
        (["mask", "TEXT", "out.png", "--model", "MODEL"], "not a picture"),
        (["mask", "BLANK", "out.png", "--model", "MODEL"], "no face was found"),
        (["mask", "BLANK", "out.png", "--model", "/nowhere"], "no pipeline could be loaded"),
        (["convert", "TEXT", "out"], "plain tensors"),
        (["unmask", "EMPTY", "out", "--model", "MODEL"], "holds no photo"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(run, model, tmp_path, args, message):
    (tmp_path / "text.jpg").write_text("no photo")
    Image.new("RGB", (200, 200)).save(tmp_path / "blank.png")
    (tmp_path / "empty").mkdir()
    places = {"TEXT": tmp_path / "text.jpg", "BLANK": tmp_path / "blank.png", "EMPTY": tmp_path / "empty", "MODEL": model}
    args = [places.get(arg, tmp_path / arg if arg.startswith("out") else arg) for arg in args]
    code, _, err = run(*args)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
