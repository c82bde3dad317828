"""The command line: what it writes, and one line where it can't."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import maskhub
from maskhub import FaceMaskPipeline, ResnetGenerator
from tests.models.test_convert import Foreign


@pytest.fixture
def model(tiny_pipeline, tmp_path):
    tiny_pipeline.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def photo(astronaut, tmp_path):
    astronaut.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


COMMANDS = {
    "help": "from maskhub.cli import main; main(['mask', '--help'])",
    "version": "from maskhub.cli import main; main(['--version'])",
    "unbuffered": "import sys; sys.stdout.reconfigure(write_through=True); from maskhub.cli import main; main(['-h'])",
    "training": "from maskhub.training.launch import launch; from maskhub.training.cyclegan import CycleGAN; "
    "launch(CycleGAN, args=['--help'])",
}


def run_with_stdout(code, stdout):
    env = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run([sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, text=True, env=env)
    return done.returncode, done.stderr


@pytest.mark.parametrize("code", COMMANDS.values(), ids=COMMANDS)
def test_output_whose_reader_has_gone_is_no_traceback(code):
    reading, writing = os.pipe()
    os.close(reading)
    assert run_with_stdout(code, writing) == (141, "")
    os.close(writing)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's full disk")
@pytest.mark.parametrize("code", COMMANDS.values(), ids=COMMANDS)
def test_output_to_a_full_disk_takes_one_line(code):
    with open("/dev/full", "w") as full:
        code, said = run_with_stdout(code, full)
    assert code == 2 and said.endswith(": standard output could not be written: No space left on device.\n")
    assert said.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux's full disk")
@pytest.mark.parametrize(("kind", "expected"), [("ConfigError", "no photos"), ("SystemExit", "No space left")])
def test_an_error_is_said_on_a_full_disk_too(kind, expected):
    code = f"""
import maskhub.training.launch as module
from maskhub.errors import ConfigError
from maskhub.training.cyclegan import CycleGAN

def parse(*args):
    print("reading")
    raise {kind}("no photos" if {kind} is ConfigError else 0)

module.parse = parse
module.launch(CycleGAN)
"""
    with open("/dev/full", "w") as full:
        code, said = run_with_stdout(code, full)
    assert code == 2 and said.count("\n") == 1 and expected in said


def test_without_an_output_a_command_still_succeeds():
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -c 'from maskhub.cli import main; main([\"--version\"])' >&-"],
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_while_the_program_is_imported_takes_one_line():
    code = """
import builtins
import maskhub.__main__

importing = builtins.__import__

def stopped(name, *rest, **more):
    if name == "tyro":
        raise KeyboardInterrupt
    return importing(name, *rest, **more)

builtins.__import__ = stopped
maskhub.__main__.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "maskhub: stopped.\n")


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "maskhub", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"maskhub {maskhub.__version__}\n")


def test_version(run):
    code, out, err = run("--version")
    assert (code, out, err) == (0, f"maskhub {maskhub.__version__}\n", "")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["mask"], "1 face found: mask put on"),
        (["translate"], "1 face found: mask put on"),
        (["unmask"], "1 face found: left as it is (no mask worn)"),
        (["unmask", "--force"], "1 face found: mask taken off"),
    ],
    ids=" ".join,
)
def test_one_photo(run, model, photo, tmp_path, command, said):
    made = tmp_path / "new" / "out.png"
    assert run(*command, photo, made, "--model", model) == (0, f"wrote {made}; {said}\n", "")
    assert Image.open(made).size == (512, 512)
    assert (Image.open(made).tobytes() == Image.open(photo).tobytes()) == ("left" in said)


def test_a_mask_by_rule_does_not_go_over_a_mask(run, astronaut, masked_astronaut, tmp_path):
    couple = Image.new("RGB", (760, 512))
    couple.paste(astronaut, (0, 0))
    couple.paste(masked_astronaut.crop((100, 0, 348, 250)).resize((198, 200)), (537, 100))
    couple.save(tmp_path / "couple.png")
    made = tmp_path / "out.png"
    code, out, _ = run("mask", tmp_path / "couple.png", made, "--boxes", "coco", "--seed", 1)
    assert (code, out) == (0, f"wrote {made}: 1 of 2 faces masked, 1 left with the mask that it wears\n")
    before, after = np.asarray(couple), np.asarray(Image.open(made))
    assert np.array_equal(after[:, 537:], before[:, 537:]) and (after != before).any()
    boxes = json.loads((tmp_path / "out.json").read_text())
    names = {item["id"]: item["name"] for item in boxes["categories"]}
    assert sorted(names[item["category_id"]] for item in boxes["annotations"]) == ["mask", "masked face", "masked face"]
    assert "2 of 2 faces masked\n" in run("mask", tmp_path / "couple.png", made, "--force", "--seed", 1)[1]

    masked_astronaut.save(tmp_path / "masked.png")
    code, _, err = run("mask", tmp_path / "masked.png", tmp_path / "never.png")
    assert (code, "already wear a mask; --force" in err, (tmp_path / "never.png").exists()) == (2, True, False)


def test_a_jpeg_keeps_its_quality_and_a_folder_may_become_png(run, model, astronaut, tmp_path):
    (tmp_path / "in").mkdir()
    astronaut.save(tmp_path / "in" / "a.jpg", quality=61)
    with Image.open(tmp_path / "in" / "a.jpg") as photo:
        tables = photo.quantization
    for command, *options in (["mask", "--force"], ["unmask", "--force", "--model", model]):
        out = tmp_path / command
        assert run(command, tmp_path / "in" / "a.jpg", out / "one.jpg", *options)[0] == 0
        assert run(command, tmp_path / "in", out / "png", "--png", *options)[0] == 0
        with Image.open(out / "one.jpg") as made, Image.open(out / "png" / "a.png") as lossless:
            assert made.quantization == tables and lossless.size == made.size
        code, _, err = run(command, tmp_path / "in" / "a.jpg", out / "two.jpg", "--png", *options)
        assert code == 2 and err.startswith("maskhub: --png is for folders")


def test_a_folder_is_counted_by_faces(run, model, astronaut, masked_astronaut, shaded_astronaut, tmp_path):
    (tmp_path / "in").mkdir()
    astronaut.save(tmp_path / "in" / "bare.png")
    masked_astronaut.save(tmp_path / "in" / "masked.png")
    shaded_astronaut.save(tmp_path / "in" / "shaded.png")
    (tmp_path / "in" / "metadata.csv").write_text("file_name,name\nbare.png,Eileen\nmasked.png,\nshaded.png,\n")
    code, out, _ = run("unmask", tmp_path / "in", tmp_path / "out", "--model", model)
    faces = "3 faces found: 2 masks taken off, 1 left as it is (no mask worn); 1 result is likely poor"
    assert (code, out.splitlines()) == (0, [faces, "3 made, 0 already there, 0 failed"])
    table = (tmp_path / "out" / "metadata.csv").read_text()
    lines = [line.split(",") for line in table.splitlines()]
    assert lines[0] == ["file_name", "name", "expected_error", "likely_poor"]
    assert lines[1] == ["bare.png", "Eileen", "", "0"]
    assert [line[0] for line in lines[2:]] == ["masked.png", "shaded.png"] and [line[3] for line in lines[2:]] == [
        "0",
        "1",
    ]
    assert 0.2 < float(lines[2][2]) < float(lines[3][2]) < 0.5
    assert "0 made, 3 already" in run("unmask", tmp_path / "in", tmp_path / "out", "--model", model)[1]
    assert (tmp_path / "out" / "metadata.csv").read_text() == table


def test_a_folder_with_a_broken_photo(run, model, photo, tmp_path):
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.jpg").write_text("no photo")
    code, out, err = run("unmask", tmp_path / "in", tmp_path / "out", "--model", model)
    assert code == 2
    assert "1 made, 0 already there, 1 failed" in out
    assert "failures.csv" in err
    assert (tmp_path / "out" / "good.png").exists()


def test_a_folder_by_the_fastest_backend(run, model, photo, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    photo.rename(tmp_path / "in" / "a.png")
    made = {}
    for backend in ("torch", ""):
        monkeypatch.setenv("MASKHUB_BACKEND", backend)
        assert run("unmask", tmp_path / "in", tmp_path / f"out{backend}", "--model", model)[0] == 0
        made[backend] = np.asarray(Image.open(tmp_path / f"out{backend}" / "a.png")).astype(int)
    assert np.abs(made[""] - made["torch"]).mean() < 1
    monkeypatch.setenv("MASKHUB_BACKEND", "steam")
    code, _, err = run("unmask", tmp_path / "in", tmp_path / "never", "--model", model)
    assert (code, "the backend is 'steam'" in err) == (2, True)


@pytest.mark.slow  # tests/pipelines exports by Python and by `push --onnx`
def test_convert_to_onnx(run, tmp_path):
    pytest.importorskip("onnxscript")
    pipe = FaceMaskPipeline(unmasker=ResnetGenerator(width=4, blocks=1), resolution=32)
    pipe.save_pretrained(tmp_path / "pipe")
    code, out, _ = run("convert", tmp_path / "pipe", tmp_path / "onnx", "--to", "onnx")
    assert (code, "of torch" in out) == (0, True)
    assert (tmp_path / "onnx" / "unmasker" / "model.onnx").is_file()
    assert FaceMaskPipeline.from_pretrained(tmp_path / "onnx", backend="onnxruntime").masker is None


def test_a_photo_by_rule(run, photo, tmp_path):
    args = ["--style", "surgical", "--regions", tmp_path / "regions", "--boxes", "coco"]
    code, out, _ = run("mask", photo, tmp_path / "out.png", *args)
    assert code == 0
    assert "1 of 1 faces masked" in out
    before, after = (np.asarray(Image.open(path)) for path in (photo, tmp_path / "out.png"))
    region = np.asarray(Image.open(tmp_path / "regions" / "out.png"))
    assert np.array_equal(before[region == 0], after[region == 0])
    assert (before != after)[region == 255].any()
    assert json.loads((tmp_path / "out.json").read_text())["annotations"][0]["attributes"]["style"] == "surgical"


def test_forty_photos_of_which_five_are_broken(run, astronaut, tmp_path):
    (tmp_path / "in").mkdir()
    head = astronaut.crop((120, 20, 330, 230)).resize((96, 96))
    for number in range(35):
        head.rotate(number / 10).save(tmp_path / "in" / f"{number:02d}.jpg")
    for number in range(35, 40):
        (tmp_path / "in" / f"{number}.jpg").write_bytes(b"\xff\xd8 no photo")
    code, out, err = run("mask", tmp_path / "in", tmp_path / "out", "--workers", 2, "--boxes", "voc")
    assert code == 2
    assert "35 made, 0 already there, 5 failed" in out
    assert "failures.csv" in err
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 35
    assert len(list((tmp_path / "out" / "annotations").glob("*.xml"))) == 35
    rows = list(csv.DictReader((tmp_path / "out" / "failures.csv").open()))
    assert [row["file_name"] for row in rows] == [f"{number}.jpg" for number in range(35, 40)]
    code, out, _ = run("mask", tmp_path / "in", tmp_path / "out", "--workers", 0, "--boxes", "voc")
    assert (code, "0 made, 35 already there, 5 failed" in out) == (2, True)


def test_dataset_build_and_curate(run, astronaut, tmp_path, hub_user):
    (tmp_path / "in").mkdir()
    for number in range(2):
        astronaut.crop((120, 20, 330, 230)).rotate(90 * number).save(tmp_path / "in" / f"{number}.png")
    code, out, _ = run("dataset", "curate", tmp_path / "in", tmp_path / "kept", "--workers", 0)
    assert code == 0
    assert "1 kept, 1 dropped, 0 failed" in out
    assert "1 tilted" in out
    push = ["--push-to-hub", hub_user.repo("cli"), "--crops", 64, "--workers", 0]
    code, out, _ = run("dataset", "build", tmp_path / "kept", tmp_path / "pairs", *push)
    assert code == 0
    assert "1 made, 0 already there, 0 failed" in out
    assert f"pushed to {os.environ['HF_ENDPOINT']}/datasets/{hub_user.repo('cli')}" in out


SLURM = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_STEP": "2"}


@pytest.mark.parametrize(
    ("environment", "rank", "world", "workers"),
    [
        ({}, None, 1, 4),
        ({"RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "2"}, 1, 8, 2),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "5"}, 3, 5, 4),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_ARRAY_TASK_COUNT": "6"} | SLURM, 5, 12, 4),
    ],
)
def test_ranks_come_from_the_environment(run, tmp_path, monkeypatch, environment, rank, world, workers):
    from maskhub.data import shards
    from maskhub.data import workers as pool

    given = {}
    monkeypatch.setattr(shards, "build_dataset", lambda *_, **options: given.update(options) or shards.BuildReport())
    monkeypatch.setattr(pool, "processors", lambda: 4)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert run("dataset", "build", tmp_path / "in", tmp_path / "out")[0] == 0
    assert (given["rank"], given["world"], given["workers"]) == (rank, world, workers)
    monkeypatch.setenv("WORLD_SIZE", "many")
    code, _, err = run("dataset", "build", tmp_path / "in", tmp_path / "out")
    assert (code, err.count("\n")) == (2, 1) and "WORLD_SIZE is 'many'" in err


@pytest.mark.parametrize(("given", "private"), [([], None), (["--private"], True)])
def test_a_pushed_repository_is_private_as_its_owner_has_chosen(run, monkeypatch, tmp_path, given, private):
    seen = []
    monkeypatch.setattr("maskhub.hub.push_folder", lambda *names, **how: seen.append(how["private"]) or "there")
    assert run("push", tmp_path, "me/masks", *given)[:2] == (0, "pushed to there\n") and seen == [private]


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
    ResnetGenerator.from_pretrained(tmp_path / "hub", variant="fp16", dtype=torch.float32)
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
        (["mask", "EMPTY", "out"], "holds no photo"),
        (["mask", "TEXT", "out.png"], "not a picture"),
        (["mask", "BLANK", "out.png"], "no face was found"),
        (["mask", "BLANK", "out.png", "--style", "nonsense"], "--style is 'nonsense'; it must be one of surgical"),
        (["mask", "BLANK", "out.png", "--portion", "2"], "--portion is 2"),
        (["mask", "BLANK", "out.png", "--model", "MODEL", "--style", "kn95"], "can't be used with --model"),
        (["mask", "BLANK", "out.png", "--device", "cpu"], "--device can't be used without --model: leave it out"),
        (["mask", "BLANK", "out.png", "--workers", "2"], "--workers is for folders and datasets"),
        (["mask", "EMPTY", "out", "--preview-photos", "3"], "--preview-photos can't be used without --preview"),
        (["dataset", "build", "EMPTY", "out", "--private"], "--private can't be used without --push-to-hub"),
        (["dataset", "build", "a/b", "out", "--shard-size", "9"], "--shard-size can't be used with a dataset that has"),
        (["convert", "MODEL", "out", "--to", "int8", "--any-size"], "--any-size can't be used with --to int8"),
        (["convert", "MODEL", "out", "--to", "onnx", "--unmasked", "a"], "--unmasked can't be used with --to onnx"),
        (
            ["convert", "TEXT", "out", "--any-size", "--masked", "a"],
            "--any-size, --masked can't be used with --to",
        ),
        (
            ["convert", "MODEL", "out", "--to", "onnx-crops", "--architecture", "unet_128"],
            "--architecture can't be used with --to onnx-crops: leave it out",
        ),
        (["unmask", "BLANK", "out.png", "--model", "MODEL", "--device", "cuda:99"], "there is no device 'cuda:99'"),
        (["unmask", "BLANK", "out.png", "--model", "MODEL", "--device", "cpu:"], "there is no device 'cpu:'"),
        (["mask", "nobody/nothing", "out"], "no folder and no Hub dataset"),
        (["dataset", "build", "EMPTY", "out"], "holds no photo"),
        (["dataset", "curate", "EMPTY", "out", "--min-faces", "0"], "at least 1"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(run, model, tmp_path, args, message):
    (tmp_path / "text.jpg").write_text("no photo")
    Image.new("RGB", (200, 200)).save(tmp_path / "blank.png")
    (tmp_path / "empty").mkdir()
    places = {
        "TEXT": tmp_path / "text.jpg",
        "BLANK": tmp_path / "blank.png",
        "EMPTY": tmp_path / "empty",
        "MODEL": model,
    }
    args = [places.get(arg, tmp_path / arg if arg.startswith("out") else arg) for arg in args]
    code, _, err = run(*args)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
