"""Training runs as a user starts them: real processes, killed and resumed, two at once, out of room."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from hub_photos import push_parquet
from PIL import Image
from safetensors.torch import load_file

from maskhub import FaceMaskPipeline
from maskhub.training.checkpoint import latest_checkpoint
from maskhub.training.status import read_metrics, read_status

from .conftest import command_line, same_weights, weights

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--cpu")
TWO = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
       "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")  # fmt: skip
"""With ACCELERATE_USE_CPU, these are two processes on the CPU."""


@pytest.fixture(scope="module")
def whole(small, finish, tmp_path_factory):
    """A run of eight steps that nothing disturbed."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    options = small("cyclegan", output, max_steps=8, checkpoint_every=4) | {"sample_every": 4}
    code, text = finish(*command_line(options), launcher=LAUNCH)
    assert code == 0, text
    return output


def test_what_a_run_leaves(whole, astronaut):
    assert sorted(path.name for path in whole.iterdir() if not path.name.startswith(".")) == [
        "checkpoints", "curves.png", "metrics.jsonl", "pipeline", "samples", "status.json",
    ]  # fmt: skip
    assert sorted(path.name for path in (whole / "checkpoints").iterdir()) == ["step-00000004", "step-00000008"]
    lines = read_metrics(whole)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert {"D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"} < lines[0].keys()
    assert lines[0]["images_per_second"] > 0
    assert Image.open(whole / "samples" / "step-00000008.png").size == (6 * 128 + 8, 6 * 128)  # 32 pixels, magnified
    assert Image.open(whole / "samples" / "timeline.png").width == 2 * 128
    assert FaceMaskPipeline.from_pretrained(whole / "pipeline").mask(astronaut).size == astronaut.size
    assert not [path for path in whole.rglob("*") if path.suffix in (".bin", ".pt", ".pth", ".pkl")]
    assert not list(whole.rglob(".partial-*"))


def killed_at_its_first_checkpoint(start, output, options):
    process = start(*options, script=f"train_{'cyclegan' if 'unmasked' in ' '.join(options) else 'reimaging'}.py")
    deadline = time.monotonic() + 240
    while latest_checkpoint(output / "checkpoints") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    text = process.communicate()[0]
    assert latest_checkpoint(output / "checkpoints"), text


def test_killed_and_resumed_equals_undisturbed(whole, small, start, finish, tmp_path):
    output = tmp_path / "killed"
    options = small("cyclegan", output, max_steps=8, checkpoint_every=4) | {"sample_every": 4, "workers": 1}
    killed_at_its_first_checkpoint(start, output, command_line(options))
    code, text = finish(*command_line(options), "--resume", "latest")
    assert code == 0, text
    assert same_weights(output / "checkpoints" / "step-00000008", whole / "checkpoints" / "step-00000008")
    assert same_weights(output / "pipeline", whole / "pipeline")
    lines = [read_metrics(run) for run in (output, whole)]
    for line in (*lines[0], *lines[1]):
        del line["images_per_second"], line["peak_memory_mb"]
    assert lines[0] == lines[1]
    assert read_status(output)["state"] == "finished"


def test_a_killed_small_run_goes_on_alike(small, start, here, tmp_path):
    options = small("reimaging", tmp_path / "killed", max_steps=100_000, checkpoint_every=4)
    killed_at_its_first_checkpoint(start, tmp_path / "killed", command_line(options))
    assert read_status(tmp_path / "killed")["state"] == "running"
    target = int(latest_checkpoint(tmp_path / "killed" / "checkpoints").name[5:]) + 6
    options["max_steps"] = target
    assert here("reimaging", options, "--resume", "latest")[0] == 0
    assert here("reimaging", options | {"output": str(tmp_path / "whole")})[0] == 0
    for part in (f"checkpoints/step-{target:08d}", "pipeline"):
        assert same_weights(tmp_path / "killed" / part, tmp_path / "whole" / part)
    steps = [[line["step"] for line in read_metrics(tmp_path / name)] for name in ("killed", "whole")]
    assert steps[0] == steps[1]


@pytest.fixture
def streamed(drawn, hub_user, tmp_path):
    """Specs of the drawn photos as two splits of a data set on the Hub, in row groups of two."""
    for split in ("unmasked", "masked"):
        rows = [{"bytes": path.read_bytes(), "path": path.name} for path in sorted((drawn / split).iterdir())]
        push_parquet(tmp_path, hub_user.repo("drawn"), rows, split=split, group=2)
    return {split: f"{hub_user.repo('drawn')}:{split}" for split in ("unmasked", "masked")}


def test_two_processes_resume(small, finish_two, tmp_path):
    """With other workers, to the bits of a run that nothing disturbed."""
    options = small("reimaging", tmp_path / "two", max_steps=2)
    codes, text = finish_two(*command_line(options), script="train_reimaging.py")
    assert codes == [0, 0] and "2 process(es)" in text, text
    options |= {"max_steps": 4, "workers": 1}
    codes, text = finish_two(*command_line(options), "--resume", "latest", script="train_reimaging.py")
    assert codes == [0, 0] and "2 steps done" in text, text
    codes, text = finish_two(*command_line(options | {"output": str(tmp_path / "whole")}), script="train_reimaging.py")
    assert codes == [0, 0], text
    for part in ("checkpoints/step-00000004", "pipeline"):
        assert same_weights(tmp_path / "two" / part, tmp_path / "whole" / part)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_all_processes_stops_it_with_a_checkpoint(number, code, small, start, tmp_path):
    """A terminal and a cluster send it to the workers that read photos, too."""
    options = small("cyclegan", tmp_path / "run", max_steps=100_000, checkpoint_every=1000) | {"workers": 2}
    process = start(*command_line(options))
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    while not (metrics.is_file() and read_metrics(tmp_path / "run")) and time.monotonic() < deadline:
        time.sleep(0.01)
    pid = read_status(tmp_path / "run")["pid"]
    workers = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    assert len(workers) == 2
    for each in (*workers, pid):
        os.kill(each, number)
    text = process.communicate(timeout=240)[0]
    stopped = read_status(tmp_path / "run")
    assert process.returncode == code and stopped["state"] == "stopped", text
    assert latest_checkpoint(tmp_path / "run" / "checkpoints").name == f"step-{stopped['step']:08d}"
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]


@pytest.mark.slow
def test_two_processes_end_in_time_after_the_same_step(small, finish_two, tmp_path):
    options = small("reimaging", tmp_path, max_steps=100_000) | {"max_minutes": 0.05, "lr_schedule": "linear"}
    codes, text = finish_two(*command_line(options), script="train_reimaging.py")
    assert codes == [0, 0], text
    lines = read_metrics(tmp_path)
    assert 1 < len(lines) < 100_000 and lines[-1]["learning_rate"] == 0
    assert latest_checkpoint(tmp_path / "checkpoints").name == f"step-{lines[-1]['step']:08d}"


@pytest.mark.slow
def test_two_processes_stop_resume_and_leave_cleanly(streamed, small, start, finish, finish_two, tmp_path):
    """They read their photos from the Hub, and go on with another number of workers."""
    output = tmp_path / "two"
    options = small("cyclegan", output, max_steps=100_000, checkpoint_every=2) | streamed
    options |= {"norm": "batch", "gradient_accumulation": 2, "workers": 2}
    process = start(*command_line(options), launcher=TWO)
    deadline = time.monotonic() + 240
    while latest_checkpoint(output / "checkpoints") is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(read_status(output)["pid"], signal.SIGTERM)  # of one of the two
    text = process.communicate(timeout=240)[0]
    assert "stopped at step" in text and "process group" not in text.lower(), text
    assert "3 files for 2 process(es) with 2 worker(s) each and is read in 8 pieces of whole row groups" in text
    stopped = read_status(output)
    assert stopped["state"] == "stopped"
    last = latest_checkpoint(output / "checkpoints")
    assert last.name == f"step-{stopped['step']:08d}"
    pools = [load_file(last / f"process-{rank}.safetensors")["pools/fake_B/images"] for rank in (0, 1)]
    assert not torch.equal(*pools)  # each saw its own share
    options |= {"max_steps": stopped["step"] + 2, "workers": 0}
    codes, text = finish_two(*command_line(options), "--resume", "latest", script="train_cyclegan.py")
    assert codes == [0, 0] and f"{stopped['step']} steps done" in text, text
    code, text = finish(*command_line(options), "--resume", "latest")
    assert code == 2 and "a run with 2 process(es), but this one has 1" in text
    codes, text = finish_two(*command_line(options | {"output": str(tmp_path / "whole")}), script="train_cyclegan.py")
    assert codes == [0, 0], text
    assert same_weights(output / "pipeline", tmp_path / "whole" / "pipeline")


@pytest.mark.parametrize("name", ["cyclegan", "reimaging"])
def test_a_full_disk_spares_the_last_checkpoint(name, small, finish, here, tmp_path):
    output = tmp_path / "full"
    options = small(name, output, max_steps=2, checkpoint_every=2)
    assert here(name, options)[0] == 0
    before = weights(output)
    size = max(path.stat().st_size for path in output.rglob("networks.safetensors"))
    options |= {"max_steps": 4, "workers": 1}
    words = [*command_line(options), "--resume", "latest"]
    code, text = finish(*words, script=f"train_{name}.py", file_size=size // 2)
    assert code == 2, text
    assert "Traceback" not in text
    assert "error: the checkpoint of step 4 could not be written" in text
    assert [path.name for path in (output / "checkpoints").iterdir()] == ["step-00000002"]
    assert same_weights(output, output) and weights(output).keys() == before.keys()
    assert read_status(output)["state"] == "failed"
    assert here(name, options, "--resume", "latest")[0] == 0


@pytest.mark.parametrize("place", ["", "metrics.jsonl", "samples"])
def test_a_place_that_can_not_be_written_is_one_line(place, small, here, tmp_path):
    """A file where a folder must be, or the other way round: root may write into read-only folders."""
    output = tmp_path / "run"
    if place == "metrics.jsonl":
        (output / place).mkdir(parents=True)
    else:
        (output / place).parent.mkdir(parents=True, exist_ok=True)
        (output / place).write_text("a file")
    code, text = here("reimaging", small("reimaging", output, max_steps=2) | {"sample_every": 1})
    assert code == 2 and "Traceback" not in text
    assert sum("error:" in line for line in text.splitlines()) == 1


@pytest.mark.parametrize("kind", ["checkpoints/step-00000004", "pipeline"])
def test_a_new_run_begins_with_the_weights_of_another(whole, small, here, tmp_path, kind):
    options = small("cyclegan", tmp_path / "next", learning_rate=1e-12, max_steps=1)
    code, text = here("cyclegan", options, "--init-from", whole / kind)
    assert code == 0, text
    if kind == "pipeline":
        new, old = weights(tmp_path / "next" / kind), weights(whole / kind)
    else:
        new, old = ({0: load_file(path / "networks.safetensors")} for path in (
            tmp_path / "next" / "checkpoints" / "step-00000001", whole / kind))  # fmt: skip
    assert all(torch.allclose(t, old[name][key], atol=1e-9) for name, part in new.items() for key, t in part.items())


def test_a_new_run_begins_with_a_model_that_is_named_and_in_half_precision(whole, small, here, tmp_path, monkeypatch):
    monkeypatch.setenv("MASKHUB_HOME", str(tmp_path))
    FaceMaskPipeline.from_pretrained(whole / "pipeline").save_pretrained(tmp_path / "models" / "mine", variant="fp16")
    options = small("cyclegan", tmp_path / "next", learning_rate=1e-12, max_steps=1)
    code, text = here("cyclegan", options, "--init-from", "mine")
    assert code == 0, text
    new, old = weights(tmp_path / "next" / "pipeline"), weights(whole / "pipeline")
    assert all(torch.allclose(t, old[name][key], atol=1e-3) for name, part in new.items() for key, t in part.items())
    code, text = here("cyclegan", small("cyclegan", tmp_path / "no"), "--init-from", "nothing")
    assert code == 2 and "`maskhub models list` has no such name" in text


def test_weights_of_other_networks_are_refused(whole, small, here, tmp_path):
    for path, message in ((whole / "pipeline", "has other networks"), (tmp_path, "neither a checkpoint nor")):
        code, text = here("cyclegan", small("cyclegan", tmp_path / "no", generator_width=8), "--init-from", path)
        assert code == 2
        assert message in text
