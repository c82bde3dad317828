"""State of a run to and from a checkpoint, and the initial weights from ``--init-from``."""

from pathlib import Path

import torch

import maskhub
from maskhub.data.journal import RESULTS_OF
from maskhub.errors import CheckpointError, first_line
from maskhub.pipelines.fetch import fetch_pipeline
from maskhub.training import checkpoint

__all__ = ["capture", "faster_precision", "init_from", "restore"]


def capture(trainer):
    """Everything that decides the next step of a :class:`~maskhub.training.trainer.Trainer`: ``(shared, own, record)``
    for :func:`~maskhub.training.checkpoint.write_checkpoint`."""
    task, scaler = trainer.task, trainer.accelerator.scaler
    optimizers = {name: optimizer.optimizer for name, optimizer in trainer.optimizers.items()}
    shared = {
        "networks": {name: network.state_dict() for name, network in task.networks.items()},
        "optimizers": {name: checkpoint.moments(optimizer) for name, optimizer in optimizers.items()},
    }
    if trainer.ema:
        shared["ema"] = {
            name: {str(index): tensor for index, tensor in enumerate(ema.shadow_params)}
            for name, ema in trainer.ema.items()
        }
    own = {"random": _random_state(), "pools": {name: pool.state_dict() for name, pool in task.pools.items()}}
    if trainer.accelerator.process_index:  # each process has running statistics of its own; ``shared`` has the first's
        own["buffers"] = {name: dict(network.named_buffers()) for name, network in task.networks.items()}
    record = checkpoint.Record(
        step=trainer.step,
        written=0,
        processes=trainer.accelerator.num_processes,
        method=task.name,
        seconds=trainer.seconds,
        photos=task.fingerprint(trainer.timeline.options),
        options=trainer.options.resumable(),
        optimizers={name: _groups(optimizer) for name, optimizer in optimizers.items()},
        averages={name: ema.optimization_step for name, ema in trainer.ema.items()},
        scaler=scaler.state_dict() if scaler is not None else None,
        versions=_versions(),
    )
    return shared, own, record


def restore(trainer):
    """Restore a prepared trainer from the checkpoint that its option ``resume`` names; without one it starts at step 0.
    CheckpointError if it is missing or of another run, or if ``output`` holds a run that would be overwritten."""
    options, task, device = trainer.options, trainer.task, trainer.accelerator.device
    path = checkpoint.resume_path(trainer.output, options.resume, trainer.accelerator.print)
    if path is None:
        return
    record, shared, own = checkpoint.load_checkpoint(path, trainer.accelerator.process_index)
    _check_same_run(trainer, path, record)
    try:
        for name, network in task.networks.items():
            buffers = own.get("buffers", {}).get(name, {})
            network.load_state_dict(shared["networks"][name] | buffers)
        for name, ema in trainer.ema.items():
            tensors = shared["ema"][name]
            if len(tensors) != len(ema.shadow_params):
                raise ValueError(f"{len(tensors)} averaged tensors for {len(ema.shadow_params)}")
            ema.shadow_params = [tensors[str(index)].to(device) for index in range(len(tensors))]
            ema.optimization_step = record.averages[name]
        for name, optimizer in trainer.optimizers.items():
            # an optimizer that the first stage did not use has no moments yet
            moments = shared["optimizers"].get(name, {})
            checkpoint.load_moments(optimizer.optimizer, moments, record.optimizers[name])
        for name, pool in task.pools.items():
            pool.load_state_dict({key: value.to(device) for key, value in own["pools"][name].items()})
        _set_random_state(own["random"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"the checkpoint {path} does not match this run: {first_line(error)}.") from error
    if trainer.accelerator.scaler is not None and record.scaler:
        trainer.accelerator.scaler.load_state_dict(record.scaler)
    trainer.step, trainer.seconds = record.step, record.seconds
    trainer.accelerator.print(f"resuming from {path}, {trainer.step:,} steps done", flush=True)
    changes = [(name, record.versions.get(name), now) for name, now in _versions().items()]
    changed = ", ".join(f"{name} {then} → {now}" for name, then, now in changes if then != now)
    if changed:
        note = f"note: other versions ({changed}): the result may differ from that of an uninterrupted run"
        trainer.accelerator.print(note, flush=True)


def _check_same_run(trainer, path, record):
    task, options = trainer.task, trainer.options
    if record.method != task.name:
        raise CheckpointError(f"{path} is a run of {record.method}, not of {task.name}.")
    processes = trainer.accelerator.num_processes
    if record.processes != processes:
        raise CheckpointError(
            f"{path} is of a run with {record.processes} process(es), but this one has {processes}: "
            "start the same number, so that the data can continue at the same place."
        )
    now = options.resumable()
    then = type(options)().resumable() | record.options  # options that maskhub has added since then get their defaults
    changed = [f"{name} {_shown(then[name])} → {_shown(now[name])}" for name in now if now[name] != then[name]]
    if changed:
        raise CheckpointError(f"{path} was trained with other options: {'; '.join(changed)}.")
    if record.photos != task.fingerprint(trainer.timeline.options):
        raise CheckpointError(f"{path} was trained on other photos than the sources have now: start a new run.")


def init_from(trainer):
    """Load the initial weights from ``--init-from``, a checkpoint or a finished model (a folder, a name or a Hub id),
    unless a run is resumed.

    Networks that are missing there keep their random weights, so a method can start with the generator of another one.
    CheckpointError if the path is neither, or has none of the method's networks, or networks of other sizes.
    """
    task, options = trainer.task, trainer.options
    resumed = options.resume == "latest" and checkpoint.latest_checkpoint(trainer.output / "checkpoints")
    if not options.init_from or resumed or options.resume not in (None, "latest"):
        return
    path = Path(options.init_from).expanduser()
    path = path if path.exists() else fetch_pipeline(options.init_from)
    weights = checkpoint.load_networks(path) if (path / checkpoint.STATE).is_file() else task.transfer(path)
    known = task.networks.keys() & weights.keys()
    if not weights:
        raise CheckpointError(f"--init-from {path} is neither a checkpoint nor the folder of a finished model.")
    if not known:
        raise CheckpointError(
            f"--init-from {path} has none of {', '.join(task.networks)}: it has {', '.join(weights)}."
        )
    try:
        for name in known:
            task.begin_with(name, weights[name])
    except RuntimeError as error:
        raise CheckpointError(f"--init-from {path} has other networks: {first_line(error)}.") from error


def faster_precision():
    """``"bf16"`` if it is faster on this hardware, else ``"no"``.

    Decided by the hardware alone, so that all processes and resumed runs on the same kind of machine agree. With bf16,
    a CycleGAN step took 0.64 times as long on an AMD CPU with AVX512-BF16 and 1.4 times as long on an Intel one without
    AMX (``benchmarks/bench_training.py``).
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "no"
    if torch.cpu._is_amx_tile_supported():
        return "bf16"
    cpu = Path("/proc/cpuinfo")
    amd = cpu.exists() and "AuthenticAMD" in cpu.read_text()
    return "bf16" if amd and torch.cpu._is_avx512_bf16_supported() else "no"


def _versions():
    """Versions on which the bits of a run depend, besides its options; maskhub's with :data:`RESULTS_OF`."""
    return {"maskhub": f"{maskhub.__version__} of {RESULTS_OF}", "torch": torch.__version__}


def _groups(optimizer):
    """The optimizer's settings as JSON values; its learning rate may be a tensor."""
    groups = optimizer.state_dict()["param_groups"]
    return [{name: x.item() if torch.is_tensor(x) else x for name, x in group.items()} for group in groups]


def _random_state():
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    return random


def _set_random_state(random):
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])


def _shown(value):
    """An option as a message shows it: the items of a list without brackets."""
    return ", ".join(map(repr, value)) if isinstance(value, list | tuple) and value else repr(value)
