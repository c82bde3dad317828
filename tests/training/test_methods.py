"""Every method alike: what its step changes, its pipeline, its stages and resumed runs, its smoke recipe."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from maskhub import FaceMaskPipeline
from maskhub.training.config import read_recipe
from maskhub.training.loop import TrainingLoop
from maskhub.training.registry import METHODS, method

RECIPES = Path(__file__).parents[2] / "train_scripts" / "recipes"
SHARED = {"resolution": 32, "batch_size": 2, "workers": 0, "max_steps": 6, "sample_every": 0, "mixed_precision": "no"}
PATCH = {"discriminator_width": 4, "discriminator_layers": 2}
SMALL = {
    "cyclegan": PATCH | {"generator_width": 4, "blocks": 1},
    "simgan": {"generator_width": 4, "blocks": 1, "discriminator_width": 6, "pretrain_generator": 2,
               "pretrain_discriminator": 1},
    "simgan-unmasked": {"start": "unmasked", "generator_width": 4, "blocks": 1, "discriminator_width": 6,
                        "pretrain_generator": 0, "pretrain_discriminator": 0, "discriminator_updates": 2},
    "pix2pix": PATCH | {"generator_width": 4},
    "pix2pix-mask": PATCH | {"generator_width": 4, "direction": "mask", "reconstruction": "cosine-mean"},
    "attentiongan": PATCH | {"generator_width": 4, "blocks": 1, "contents": 2, "lambda_attention": 1.0,
                             "nmc_reach": 0.1},
    "attentiongan-light": PATCH | {"generator": "light", "widths": (8, 12), "light_blocks": (1, 1), "one_sided": True},
    "unmasker": PATCH | {"widths": (8, 16), "blocks": (1, 1), "real_faces": 1, "bare_faces": 1, "lambda_perceptual": 0,
                         "lambda_identity": 0, "transplanted": 1, "optimizer": "muon"},
    "attentiongan-one-sided": PATCH | {"generator_width": 4, "blocks": 1, "contents": 2, "one_sided": True},
}  # fmt: skip
RECONSTRUCTION = {"cyclegan": ("cycle_A", "cycle_B", "idt_A", "idt_B"), "simgan": ("image",), "pix2pix": ("G_L1",),
                  "attentiongan": ("cycle_A",), "unmasker": ("L1",)}  # fmt: skip


def options_of(name, drawn, faces, output):
    """A small run's options as a dict."""
    own = SHARED | SMALL[name]
    worn = not name.startswith("cyclegan") and own.get("start") != "unmasked"
    own |= {"unmasked": str(faces if worn else drawn / "unmasked"), "output": str(output)}
    if "pix2pix" not in name:
        own["masked"] = str(drawn / "masked")
    return own


def command_line(options):
    words = []
    for name, value in options.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return words


@pytest.fixture(params=SMALL)
def loop(request, drawn, faces, tmp_path):
    method_class, config_class = method(request.param.split("-")[0])
    config = config_class(**options_of(request.param, drawn, faces, tmp_path / "run"))
    config.check()
    loop = TrainingLoop(method_class, config)
    loop._prepare()
    loop.step = config.max_steps - 1  # beyond any pre-training
    loop.method.config = config.stage(loop.step)[0]
    yield loop
    loop.close()


def copies(networks):
    return {name: {key: v.clone() for key, v in net.state_dict().items()} for name, net in networks.items()}


def changed(networks, before):
    return {f"{n}.{k}" for n, net in networks.items() for k, v in net.state_dict().items() if not v.equal(before[n][k])}


def test_one_step_changes_every_weight(loop):
    before = copies(loop.bare)
    terms, samples = loop._train_step(loop._batches())
    weights = {f"{n}.{k}" for n, net in loop.bare.items() for k, p in net.named_parameters() if p.ndim > 1}
    assert weights <= changed(loop.bare, before)
    assert all(value.isfinite() for value in terms.values())
    assert samples == 2 * loop.config.discriminator_updates


def test_the_generators_turn_leaves_the_discriminators_alone(loop):
    critics = loop.method.discriminators
    before = {name: [p.clone() for p in net.parameters()] for name, net in critics.items()}
    loop._generators_turn(next(loop._batches()), {})
    for name, net in critics.items():
        assert all(
            torch.equal(p, old) and p.grad is None for p, old in zip(net.parameters(), before[name], strict=True)
        )


def test_the_discriminators_turn_leaves_the_generators_alone(loop):
    before = {name: [p.clone() for p in net.parameters()] for name, net in loop.method.generators.items()}
    loop._discriminators_turn(next(loop._batches()), None, {})
    for name, net in loop.method.generators.items():
        assert all(
            torch.equal(p, old) and p.grad is None for p, old in zip(net.parameters(), before[name], strict=True)
        )


def test_fakes_are_what_the_generators_turn_hands_on(loop):
    for network in loop.bare.values():
        network.eval()  # else dropout and noise differ
    batch = next(loop._batches())
    torch.manual_seed(0)
    handed = loop.method.generator_loss(loop.frozen_nets, batch)[2]
    torch.manual_seed(0)
    alone = loop.method.fakes(loop.frozen_nets, batch)
    assert handed.keys() == alone.keys()
    if not loop.method.generators["masker" if "masker" in loop.bare else "unmasker"].takes_noise:
        assert all(torch.equal(handed[name], alone[name]) for name in alone)


def test_the_pipeline_translates_a_photo(loop, astronaut, tmp_path):
    loop.step = 1
    loop._write_pipeline()
    pipe = FaceMaskPipeline.from_pretrained(loop.output / "pipeline")
    direction = "mask" if pipe.masker is not None else "unmask"
    one = pipe(astronaut, direction, seed=3)
    assert one.size == astronaut.size
    assert one.tobytes() == pipe(astronaut, direction, seed=3).tobytes()
    if pipe.config.wear:
        assert one.tobytes() != pipe(astronaut, direction, seed=4).tobytes()


@pytest.mark.parametrize("name", SMALL)
def test_a_run_resumed_inside_a_stage_ends_alike(name, drawn, faces, here, tmp_path):
    """Two stages of three and three steps, resumed after the second and after the fourth."""
    base = name.split("-")[0]
    recipe = tmp_path / "stages.yaml"
    changes = {"cyclegan": "lambda_cycle: 3", "simgan": "lambda_image: 3", "pix2pix": "lambda_reconstruction: 3"}
    change = changes.get(base, "lambda_l1: 3" if base == "unmasker" else "lambda_nmc: 3")
    recipe.write_text(
        f"stages:\n- {{steps: 3, lr_schedule: constant, discriminator_updates: 2}}\n"
        f"- {{steps: 3, learning_rate: 1e-3, {change}}}\n"
    )

    def run(output, *more):
        options = options_of(name, drawn, faces, output)
        del options["max_steps"]
        if base == "simgan":
            options |= {"pretrain_generator": 0, "pretrain_discriminator": 0}
        code, text = here("--recipe", recipe, *command_line(options), *more, name=base)
        assert code == 0, text

    run(tmp_path / "whole", "--checkpoint-every", 2, "--keep-checkpoints", 9, "--log-every", 1)
    lines = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["learning_rate"] for line in lines] == pytest.approx([2e-4] * 3 + [1e-3, 1e-3, 1e-3 * 2 / 3])
    for step in (2, 4):
        run(tmp_path / f"from-{step}", "--resume", tmp_path / "whole" / "checkpoints" / f"step-{step:08d}")
        for file in (tmp_path / "whole" / "pipeline").rglob("*.safetensors"):
            ours = load_file(tmp_path / f"from-{step}" / "pipeline" / file.relative_to(tmp_path / "whole" / "pipeline"))
            assert all(torch.equal(ours[key], tensor) for key, tensor in load_file(file).items()), (step, file)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "cyclegan"])
def test_two_processes_agree(name, drawn, faces, finish_two, tmp_path):
    options = options_of(name, drawn, faces, tmp_path / "two") | {"max_steps": 4, "diffaugment": "color,translation"}
    options |= {"r1": 0.1} if name == "pix2pix" else {"gan_loss": "wgan-gp", "discriminator_updates": 2}
    codes, text = finish_two(*command_line(options), script=f"train_{name}.py")
    assert codes == [0, 0], text  # the loop itself refuses to save where the processes' weights differ
    last = tmp_path / "two" / "checkpoints" / "step-00000004"
    assert len([*last.glob("process-?.safetensors")]) == 2  # one run of two, not two of one


@pytest.mark.parametrize("name", METHODS)
def test_the_smoke_recipe_lowers_its_reconstruction_loss(name, drawn, faces, here, tmp_path):
    options = {"unmasked": drawn / "unmasked" if name == "cyclegan" else faces, "output": tmp_path / "smoke"}
    if name != "pix2pix":
        options["masked"] = drawn / "masked"
    recipe = RECIPES / f"{name}-smoke.yaml"
    code, text = here("--recipe", recipe, *command_line(options), "--workers", 0, "--resolution", 32, name=name)
    assert code == 0, text
    lines = [json.loads(line) for line in (tmp_path / "smoke" / "metrics.jsonl").read_text().splitlines()]
    for loss in RECONSTRUCTION[name]:
        assert lines[-1][loss] < 0.75 * lines[0][loss]
    assert {"curves.png", "pipeline", "samples"} <= {path.name for path in (tmp_path / "smoke").iterdir()}
    assert (tmp_path / "smoke" / "samples" / "timeline.png").is_file()


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(RECIPES.glob("*.yaml")) if path.name.split("-")[0].split(".")[0] in METHODS],
    ids=lambda path: path.stem,
)
def test_every_recipe_can_be_run(path):
    config = read_recipe(path, method(path.name.split("-")[0].split(".")[0])[1])
    config.unmasked, config.output = "a", "b"
    if "masked" in config.needs():
        config.masked = "c"
    config.check()
    assert sum(stage["steps"] for stage in config.timeline()) >= config.max_steps
