"""How fast one CycleGAN step is against a plain one: the same networks, eager, float32, written as the paper says it.

    python benchmarks/bench_training.py                          # on the GPU (256 px, width 64, 9 blocks) or the CPU
    python benchmarks/bench_training.py --variants bf16 compile --batch-size 4 --rounds 10

Each variant is the trainer's own step with other options; steps of all of them are taken in turns, so that whatever
else the machine does meets all alike. A ratio above 1 is faster than the plain step. The goals: 4 on a datacentre GPU,
1.5 on two CPU cores.
"""

import argparse
import itertools
import json
import resource
import statistics
import tempfile
import time

import numpy as np
import torch
from accelerate.state import AcceleratorState, PartialState
from PIL import Image

from maskhub.models.patch import PatchDiscriminator
from maskhub.models.resnet import ResnetGenerator
from maskhub.training.cyclegan import CycleGAN, CycleGANOptions
from maskhub.training.trainer import Trainer

VARIANTS = {
    "trainer": {},
    "bf16": {"mixed_precision": "bf16"},
    "channels-last": {"channels_last": True},
    "compile": {"compile": True},
    "compile+channels-last": {"compile": True, "channels_last": True},
    "compile+bf16": {"compile": True, "mixed_precision": "bf16"},
    "compile+channels-last+bf16": {"compile": True, "channels_last": True, "mixed_precision": "bf16"},
}


class PlainStep:
    """CycleGAN's step as one would write it down first."""

    def __init__(self, size, device):
        width, blocks = size["generator_width"], size["blocks"]
        self.g, self.f = (ResnetGenerator(width=width, blocks=blocks).to(device) for _ in range(2))
        self.d_a, self.d_b = (PatchDiscriminator().to(device) for _ in range(2))
        self.adam_g = torch.optim.Adam([*self.g.parameters(), *self.f.parameters()], 2e-4, (0.5, 0.999))
        self.adam_d = torch.optim.Adam([*self.d_a.parameters(), *self.d_b.parameters()], 2e-4, (0.5, 0.999))

    def __call__(self, batch):
        a, b = batch["unmasked"], batch["masked"]
        fake_b, fake_a = self.g(a), self.f(b)
        loss = ((self.d_a(fake_b) - 1) ** 2).mean() + ((self.d_b(fake_a) - 1) ** 2).mean()
        loss = loss + 10 * ((self.f(fake_b) - a).abs().mean() + (self.g(fake_a) - b).abs().mean())
        loss = loss + 5 * ((self.g(b) - b).abs().mean() + (self.f(a) - a).abs().mean())
        self.adam_g.zero_grad()
        loss.backward()
        self.adam_g.step()
        loss = 0.5 * (((self.d_a(b) - 1) ** 2).mean() + (self.d_a(fake_b.detach()) ** 2).mean())
        loss = loss + 0.5 * (((self.d_b(a) - 1) ** 2).mean() + (self.d_b(fake_a.detach()) ** 2).mean())
        self.adam_d.zero_grad()
        loss.backward()
        self.adam_d.step()


def trainer_step(size, options, folder):
    """A step of the trainer with these options."""
    options = {"ema_decay": 0.0, "workers": 0, "mixed_precision": "no"} | size | options
    config = CycleGANOptions(unmasked=folder, masked=folder, output=folder, **options)
    trainer = Trainer(CycleGAN, config)
    trainer.prepare()
    for shared in (AcceleratorState, PartialState):  # the next variant's has other settings; this one keeps its own
        shared._shared_state = type(shared._shared_state)()
    return lambda batch: trainer.train_step(itertools.repeat(batch))


def measure(steps, batch, rounds, device):
    """Median seconds of each step over rounds in which all take turns, and each one's peak memory in MB on a GPU."""
    seconds, memory = {name: [] for name in steps}, {}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
                torch.cuda.synchronize()
            start = time.perf_counter()
            step(batch)
            if device == "cuda":
                torch.cuda.synchronize()
                memory[name] = torch.cuda.max_memory_allocated() >> 20
            if turn >= 2:  # the first two compile, choose algorithms, make buffers
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of the CPU; all by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = {"resolution": 256, "generator_width": 64, "blocks": 9}
    if device == "cpu":
        size = {"resolution": 128, "generator_width": 32, "blocks": 6}
    size["batch_size"] = options.batch_size
    shape = (options.batch_size, 3, size["resolution"], size["resolution"])
    torch.manual_seed(0)
    batch = {name: (torch.rand(shape) * 2 - 1).to(device) for name in ("unmasked", "masked")}
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(f"{folder}/photo.png")
        steps = {"plain": PlainStep(size, device)}
        steps |= {name: trainer_step(size, VARIANTS[name], folder) for name in options.variants}
        seconds, memory = measure(steps, batch, options.rounds, device)
    print(json.dumps({"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", **size,
                      "threads": torch.get_num_threads(), "torch": torch.__version__}))  # fmt: skip
    for name, value in seconds.items():
        line = {"step": name, "pairs_per_second": round(options.batch_size / value, 2),
                "ratio": round(seconds["plain"] / value, 2)}  # fmt: skip
        print(json.dumps(line | ({"peak_memory_mb": memory[name]} if memory else {})))
    if device == "cpu":
        print(json.dumps({"peak_memory_mb_of_all": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}))


if __name__ == "__main__":
    main()
