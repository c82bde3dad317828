"""The one loop with every task: several processes, status, divergence, compilation, result and card."""

import json
import signal
from types import SimpleNamespace

import pytest
import torch
from forked import ROOT
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

from maskhub.errors import CheckpointError, DivergenceError, SourceError
from maskhub.training import report, results, resume
from maskhub.training.card import training_card
from maskhub.training.registry import TASKS
from maskhub.training.signals import StopSignal
from maskhub.training.status import read_metrics, read_status
from maskhub.training.trainer import Trainer

from .conftest import ADVERSARIAL, SMALL, command_line, quick, same_weights, task_of


@pytest.mark.parametrize("name", SMALL)
def test_one_step_changes_every_weight(name, trainer):
    one = trainer(name)
    one.step = one.options.max_steps - 1  # beyond any pre-training
    before = {n: {key: v.clone() for key, v in net.state_dict().items()} for n, net in one.task.networks.items()}
    terms, samples = one.train_step(one.batches())
    for network_name, network in one.task.networks.items():
        for key, parameter in network.named_parameters():
            assert parameter.ndim < 2 or not torch.equal(parameter, before[network_name][key]), key
    assert all(value.isfinite() for value in terms.values())
    assert samples == one.options.batch_size * one.options.rounds


def test_the_speed_is_that_of_training_without_sample_sheets_and_checkpoints(trainer, monkeypatch):
    one, clock = trainer("reimaging", max_steps=4, sample_every=1, checkpoint_every=2), [0.0]

    def taking(seconds, answer):
        def call(*given):
            clock[0] += seconds
            return answer

        return call

    monkeypatch.setattr(report, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(one, "train_step", taking(2, ({"loss": torch.tensor(1.0)}, 8)))
    monkeypatch.setattr(one.results, "sample", taking(100, None))
    monkeypatch.setattr(one, "_save", taking(50, None))
    monkeypatch.setattr(one.results, "write", taking(0, None))
    one.run()
    assert [line["images_per_second"] for line in read_metrics(one.output)] == [4.0] * 4


def test_the_gpu_is_waited_for_only_before_sample_sheets_and_checkpoints(trainer, monkeypatch):
    one, waits = trainer("reimaging", max_steps=7, sample_every=5, checkpoint_every=3), []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(one.step))
    monkeypatch.setattr(one, "train_step", lambda batches: ({"loss": torch.tensor(1.0)}, 8))
    for name in ("sample", "write"):
        monkeypatch.setattr(one.results, name, lambda: None)
    monkeypatch.setattr(one, "_save", lambda: None)
    one.run()
    assert waits == [3, 5, 6, 7]


@pytest.mark.parametrize("name", SMALL)
def test_the_average_follows_the_weights(name, trainer):
    one = trainer(name, ema_decay=0.5)
    batches = one.batches()
    one.step = one.options.max_steps - 3
    for _ in range(3):
        one.train_step(batches)
        one.step += 1
    for network_name in one.task.averaged:
        average, live = one.results.averaged(network_name), one.task.networks[network_name]
        pairs = list(zip(average.parameters(), live.parameters(), strict=True))
        assert any(not torch.equal(a, b) for a, b in pairs)
        assert not average.training and live.training
        for mine, its in zip(average.buffers(), live.buffers(), strict=True):
            assert torch.equal(mine, its)


@pytest.mark.parametrize(
    ("name", "network"), [("pix2pix", "unmasker"), ("simgan", "masker"), ("reimaging", "generator")]
)
def test_batch_norms_of_averaged_weights_get_statistics_of_their_own(name, network, trainer):
    one = trainer(name, ema_decay=0.9, max_steps=3)
    one.run()
    made, seen = one.results.networks()[network], []
    norm_name, norm = next((key, module) for key, module in made.named_modules() if isinstance(module, _BatchNorm))
    norm.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    torch.manual_seed(0)
    given = one.task.input_of(network, one.on_device(one.task.fixed_batch(results.MEASURED)))
    with torch.no_grad():
        made(given)
    mean = seen[0].mean([0, *range(2, seen[0].ndim)])
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    live = one.task.networks[network]
    assert not torch.allclose(live.get_submodule(norm_name).running_mean, mean, atol=1e-3)
    assert not made.training and live.training


@pytest.mark.parametrize("name", TASKS)
def test_a_diverged_run_stops_and_says_so(name, small, here, trainer, tmp_path, monkeypatch):
    one = trainer(name, pretrain_generator=0, pretrain_discriminator=0) if name == "simgan" else trainer(name)
    monkeypatch.setattr(one, "prepare", lambda: None)
    for network in one.task.networks.values():
        for parameter in network.parameters():
            torch.nn.init.constant_(parameter, float("nan"))
    with pytest.raises(DivergenceError, match=r"the run diverged: .* is nan at step 1"):
        one.run()
    status = read_status(one.output)
    assert status["state"] == "failed" and "diverged" in status["error"]
    assert not (one.output / "checkpoints").exists() and not (one.output / one.task.result).exists()


def test_a_run_of_over_a_million_steps_has_not_diverged(trainer, monkeypatch):
    one = trainer("cyclegan", max_steps=1_000_001)
    one.step = 1_000_000
    monkeypatch.setattr(one, "prepare", lambda: None)
    assert one.run() == one.results.folder and read_status(one.output)["state"] == "finished"


def test_few_of_many_sample_sheets_are_read_for_a_timeline(tmp_path, monkeypatch):
    for number in range(30):
        Image.new("RGB", (4 * 128 + report.GAP, 128), (number, 0, 0)).save(tmp_path / f"step-{number:08d}.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "step-00000099.png")  # of another layout
    read, sheet = [], report._sheet
    monkeypatch.setattr(report, "_sheet", lambda path: read.append(path) or sheet(path))
    report.timeline_sheet(tmp_path, [2, 2], 32)
    assert len(read) == report.MOMENTS
    timeline = Image.open(tmp_path / "timeline.png")
    colours = [timeline.getpixel((128 * place, 0))[0] for place in range(report.MOMENTS)]
    assert timeline.width == 128 * report.MOMENTS and colours == sorted(colours) and colours[0] == 0
    assert colours[-1] == 29


def test_the_card_of_a_run_names_no_private_folder(faces, drawn, trainer, tmp_path):
    private = [str(folder) for folder in (faces.parent, drawn, tmp_path)]
    stages = [{"steps": 3}, {"steps": 3, "masked": f"{drawn}/masked/"}]
    masks = str(tmp_path / "private" / "masks")
    one = trainer("attentiongan", unmasked=f"{faces}/", mask_images=masks, stages=stages)
    text = training_card(one).render()
    assert not any(folder in text for folder in private)
    assert f"- unmasked: {faces.name}, 8 photos" in text and "- stage 2: steps 3, masked masked" in text
    assert "| `mask_images` | `masks` |" in text


def test_any_seed_up_to_the_last_one(trainer):
    draws = []
    for seed in (4_294_967, 20_261_128, 2**32 - 1):
        trainer("cyclegan", seed=seed)
        draws.append(torch.rand(()).item())
    torch.manual_seed(4_294_967 * 1000 + 1)  # as before there were larger ones
    assert len({*draws}) == 3 and draws[0] == torch.rand(()).item()


def test_a_folder_that_is_no_result_is_not_replaced(here, small, tmp_path):
    (tmp_path / "run" / "pipeline").mkdir(parents=True)
    (tmp_path / "run" / "pipeline" / "mine.py").write_text("")
    code, output = here("cyclegan", small("cyclegan", tmp_path / "run"))
    assert code == 2 and "pipeline is not the result of a run, but would be replaced" in output
    assert [path.name for path in (tmp_path / "run" / "pipeline").iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped; continue with --resume latest"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB. GPU 0 has"), 2,
         "error: memory ran out (CUDA out of memory): use a smaller --batch-size or --resolution."),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"), 2,
         "error: memory ran out ([enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you "
         "tried): use a smaller --batch-size or --resolution."),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), 2,
         "error: a process that reads photos has ended, as when memory runs out (DataLoader worker (pid 7) is killed "
         "by signal: Killed): use fewer --workers."),
    ],
)  # fmt: skip
def test_ctrl_c_and_a_lack_of_memory_are_one_line(here, small, tmp_path, monkeypatch, error, code, said):
    def ended(*arguments):
        raise error

    monkeypatch.setattr(Trainer, "_set_up", ended)
    assert here("cyclegan", small("cyclegan", tmp_path / "run")) == (code, said + "\n")


@pytest.mark.parametrize("name", quick(TASKS, "pix2pix", "simgan", "reimaging", "classifier"))
def test_a_compiled_run_takes_the_same_step(name, trainer, monkeypatch):
    """Traced by dynamo, without the compiler, whose minutes and whose rounding are not maskhub's."""
    plain = trainer(name)
    expected, _ = plain.train_step(plain.batches())
    plain.close()
    compiled, compile_ = [], torch.nn.Module.compile

    def traced(network):
        compiled.append(network)
        compile_(network, backend="eager")

    monkeypatch.setattr(torch.nn.Module, "compile", traced)
    one = trainer(name, compile=True)
    found, _ = one.train_step(one.batches())
    assert compiled == list(one.task.networks.values())
    assert found.keys() == expected.keys()
    for term, value in found.items():
        torch.testing.assert_close(value, expected[term], rtol=1e-4, atol=1e-5)


def test_micro_batches_equal_one_batch(trainer):
    """Each update is one step of its optimizer on the mean over the micro-batches, however many updates a step has."""
    generator = torch.Generator().manual_seed(0)
    faces, noise = torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1, torch.randn(2, 4, 8, generator=generator)

    def weights_after(parts):
        one = trainer("reimaging", gradient_accumulation=parts, batch_size=4 // parts, discriminator_dropout=0.0)
        one.task.networks["generator"].eval()  # without batch norm, whose results depend on the cut
        latents = iter([part for update in noise for part in update.chunk(parts)])
        one.task._latents = lambda faces: next(latents)
        one.train_step(iter([{"image": part} for part in faces.chunk(parts)]))
        return torch.cat([p.detach().flatten() for net in one.task.networks.values() for p in net.parameters()])

    whole, summed = weights_after(1), weights_after(2)
    assert (whole - summed).abs().max() < 1e-5


def test_a_run_ends_in_time_with_its_learning_rate_at_zero(small, here, tmp_path):
    options = small("reimaging", tmp_path, max_steps=100_000) | {"max_minutes": 0.01, "lr_schedule": "linear"}
    assert here("reimaging", options)[0] == 0
    lines, status = read_metrics(tmp_path), read_status(tmp_path)
    assert 1 < len(lines) < 100_000 and status["state"] == "finished" and status["step"] == lines[-1]["step"]
    assert lines[0]["learning_rate"] == options.get("learning_rate", 2e-4) and lines[-1]["learning_rate"] == 0
    assert (tmp_path / "pipeline" / "model_index.json").exists()


def test_a_signal_to_one_process_and_the_main_ones_time_reach_all_in_one_exchange():
    exchanges, main = [], torch.tensor([[signal.SIGTERM, 12.000001]], dtype=torch.float64)
    accelerator = SimpleNamespace(
        num_processes=2, device="cpu", gather=lambda mine: exchanges.append(mine) or torch.cat([main, mine])
    )
    stop = StopSignal(accelerator)
    assert stop.shared(12.5) == 12.000001 and len(exchanges) == 1
    assert stop.received == signal.SIGTERM and stop.exit_code == 143
    main[0, 0], stop.received = 0, None
    stop.shared(13.0)
    assert stop.received is None


@pytest.mark.parametrize("device, dtype", [("cpu", torch.float64), ("mps", torch.float32)])
def test_weights_are_checked_in_numbers_that_the_device_has(device, dtype, trainer, monkeypatch):
    one, seen = trainer("reimaging"), []
    accelerator = SimpleNamespace(device=torch.device(device), gather=lambda sums: seen.append(sums.dtype) or sums)
    real, one.accelerator = one.accelerator, accelerator
    one._check_weights()
    assert seen == [dtype]
    first = next(one.task.networks["generator"].parameters())
    value = first.data.clone()
    torch.nn.init.constant_(first, torch.nan)
    with pytest.raises(DivergenceError, match="not a finite number"):
        one._check_weights()
    first.data = value
    accelerator.gather = lambda sums: torch.cat([sums, sums + 1])
    with pytest.raises(CheckpointError, match="step 0 the processes have different weights"):
        one._check_weights()
    one.accelerator = real


def test_dry_run_writes_nothing(small, here, tmp_path):
    code, text = here("cyclegan", small("cyclegan", tmp_path / "run"), "--dry-run", "--holdout")
    assert code == 0
    assert "masker: ResnetGenerator" in text and "without the held-out tenth" in text and "lambda_cycle: 10.0" in text
    assert "pixels in float32, 1 process" in text
    assert not (tmp_path / "run").exists()


def test_epochs_are_passes_over_the_larger_source(small, here, tmp_path):
    code, text = here("cyclegan", small("cyclegan", tmp_path / "run"), "--epochs", "1.5", "--dry-run")
    assert code == 0 and "11 steps of 2 samples" in text, text  # 14 photos, two a step
    recipe = tmp_path / "r.yaml"
    recipe.write_text("stages: [{epochs: 1, lambda_cycle: 3}, {epochs: 1, discriminator_updates: 2}]")
    options = small("cyclegan", tmp_path / "run")
    del options["max_steps"]
    code, text = here("cyclegan", options, "--recipe", recipe, "--dry-run")
    assert code == 0 and "11 steps" in text and "stage 1: steps 7, lambda_cycle 3" in text, text


@pytest.mark.parametrize("written", ["epochs: 3", "stages: [{epochs: 1}, {epochs: 2}]"])
def test_steps_on_the_command_line_replace_a_recipes_epochs(written, small, here, tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text(written)
    options = small("cyclegan", tmp_path / "run")
    del options["max_steps"]
    for flag in (["--max-steps", "5"], ["--max-steps=5"], ["--max_steps", "5"]):
        code, text = here("cyclegan", options, "--recipe", recipe, *flag, "--dry-run")
        assert code == 0 and "5 steps of 2 samples" in text, text
    code, text = here("cyclegan", options, "--recipe", recipe, "--dry-run")
    assert code == 0 and "21 steps of 2 samples" in text, text


@pytest.mark.parametrize(
    ("name", "limit", "photos"), [("cyclegan", 5, 5), ("pix2pix", 5, 5), ("reimaging", 5, 5), ("classifier", 60, 120)]
)
def test_photos_can_be_limited(name, limit, photos, trainer):
    one, again, whole = (trainer(name, limit_photos=count) for count in (limit, limit, 10_000))
    assert one.task.photos() == photos < whole.task.photos()
    assert one.task.fingerprint() == again.task.fingerprint() != whole.task.fingerprint()
    one.train_step(one.batches())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--unmasked", ""], "--unmasked is missing"),
        (["--unmasked", "/nowhere/at/all"], "neither a folder here nor"),
        (["--masked", "EMPTY"], "holds no photo"),
        (["--resolution", "30"], "--resolution is 30; it must be a multiple of 4 and at least 32"),
        (["--batch-size", "-1"], "--batch-size is -1; it must be at least 1."),
        (["--batch-size", "two"], "--batch-size is 'two'; it must be a whole number."),
        (["--resume", "/nowhere"], "is not a checkpoint"),
        (["--recipe", "/nowhere.yaml"], "the recipe /nowhere.yaml can't be read"),
        (["--max-steps", "0"], "--max-steps is 0"),
        (["--init-from", "EMPTY"], "neither a checkpoint nor the folder of a finished model"),
        (["--nonsense", "1"], "there is no option --nonsense"),
        (["--cuda-graph"], "--cuda-graph can't be used with a pool"),
        (["--cuda-graph", "--pool-size", "0"], "--cuda-graph needs a single process on an NVIDIA GPU"),
    ],
)
def test_errors_are_one_line(options, message, small, here, tmp_path):
    (tmp_path / "EMPTY").mkdir()
    options = [str(tmp_path / option) if option == "EMPTY" else option for option in options]
    code, text = here("cyclegan", small("cyclegan", tmp_path / "run"), *options)
    assert code == 2 and message in text and len(text.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # test_runs has a run of two processes
@pytest.mark.parametrize("name", [name for name in TASKS if name != "cyclegan"])
def test_two_processes_agree(name, small, finish_two, tmp_path):
    options = small(name, tmp_path / "two", max_steps=4)
    if name in ADVERSARIAL:
        options |= {"diffaugment": "color,translation"}
        options |= {"r1": 0.1} if name == "pix2pix" else {"gan_loss": "wgan-gp", "discriminator_updates": 2}
    codes, text = finish_two(*command_line(options), script=f"train_{name}.py")
    assert codes == [0, 0] and "2 process(es)" in text, text  # the trainer refuses to save where weights differ
    last = tmp_path / "two" / "checkpoints" / "step-00000004"
    assert len([*last.glob("process-?.safetensors")]) == 2  # one run of two, not two of one
    assert read_status(tmp_path / "two")["state"] == "finished"
    result = tmp_path / "two" / task_of(name).result / "training.json"
    assert json.loads(result.read_text())["step"] == 4


def test_the_method_in_the_docs_is_complete(drawn, tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "train.md").read_text().split("## Add a method")[1]
    names = {"__name__": "near_gan"}
    exec(text.split("```python\n")[1].split("```")[0], names)
    options = {"unmasked": str(drawn / "unmasked"), "masked": str(drawn / "masked"), "resolution": 32, "batch_size": 2}
    options |= {"generator_width": 4, "discriminator_width": 4, "discriminator_layers": 2, "workers": 0, "log_every": 1}
    options |= {"mixed_precision": "no", "max_steps": 4, "checkpoint_every": 2, "sample_every": 4}

    def run(output, **changes):
        trainer = Trainer(names["NearGAN"], names["NearGANOptions"](output=str(tmp_path / output), **options | changes))
        folder = trainer.run()
        trainer.close()
        return folder

    whole = run("whole")
    assert [line["step"] for line in read_metrics(tmp_path / "whole")] == [1, 2, 3, 4]
    assert (whole / "model_index.json").is_file() and (tmp_path / "whole" / "samples" / "step-00000004.png").is_file()
    monkeypatch.setattr(resume, "RESULTS_OF", "2031-01-01")
    again = run("again", resume=str(tmp_path / "whole" / "checkpoints" / "step-00000002"))
    assert same_weights(whole, again)
    assert "note: other versions (maskhub " in capsys.readouterr().out


def test_a_run_that_cannot_start_leaves_the_next_one_its_precision(small, tmp_path):
    options = task_of("cyclegan").Options(**small("cyclegan", tmp_path / "run"))
    with pytest.raises(SourceError):
        Trainer(task_of("cyclegan"), options.replaced(unmasked=str(tmp_path / "nowhere"), mixed_precision="no"))
    trainer = Trainer(task_of("cyclegan"), options.replaced(mixed_precision="bf16"))
    assert trainer.accelerator.mixed_precision == "bf16"
    trainer.close()
