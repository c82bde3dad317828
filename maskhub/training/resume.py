"""What a checkpoint holds of a run, and how a run goes on from it."""

from pathlib import Path

import torch

import maskhub
from maskhub.errors import CheckpointError, first_line
from maskhub.models.light import LightGenerator
from maskhub.training import state

__all__ = ["capture", "init_from", "restore", "untouched_random_state"]


def capture(loop):
    """Everything that decides the next step of a :class:`~maskhub.training.loop.TrainingLoop`.

    Returns:
        ``(shared, own, record)`` as :func:`maskhub.training.state.write_checkpoint` wants them.
    """
    optimizers = {name: optimizer.optimizer for name, optimizer in loop.optimizers.items()}
    shared = {
        "networks": {name: network.state_dict() for name, network in loop.bare.items()},
        "optimizers": {name: state.moments(optimizer) for name, optimizer in optimizers.items()},
    }
    if loop.ema:
        shared["ema"] = {
            name: {str(index): tensor for index, tensor in enumerate(ema.shadow_params)}
            for name, ema in loop.ema.items()
        }
    own = {
        "random": _random_state(),
        "pools": {name: pool.state_dict() for name, pool in loop.method.pools.items()},
    }
    scaler = loop.accelerator.scaler
    record = {
        "method": loop.method.name,
        "seconds": loop.seconds,
        "config": loop.config.resumable(),
        "optimizers": {name: optimizer.state_dict()["param_groups"] for name, optimizer in optimizers.items()},
        "ema": {name: ema.optimization_step for name, ema in loop.ema.items()},
        "scaler": scaler.state_dict() if scaler is not None else None,
        "versions": {"maskhub": maskhub.__version__, "torch": torch.__version__},
    }
    return shared, own, record


def restore(loop):
    """Put a prepared loop where its options' ``resume`` says; a run without one begins at step 0.

    Raises:
        CheckpointError: no such checkpoint, another run's, or a run in ``output`` that would be overwritten.
    """
    path = state.resume_path(loop.output, loop.config.resume)
    if path is None:
        return
    device = loop.accelerator.device
    record, shared, own = state.load_checkpoint(path, loop.accelerator.process_index)
    _check_same_run(loop, path, record, own)
    try:
        for name, network in loop.bare.items():
            network.load_state_dict(shared["networks"][name])
        for name, ema in loop.ema.items():
            tensors = shared["ema"][name]
            if len(tensors) != len(ema.shadow_params):
                raise ValueError(f"{len(tensors)} averaged tensors for {len(ema.shadow_params)}")
            ema.shadow_params = [tensors[str(index)].to(device) for index in range(len(tensors))]
            ema.optimization_step = record["ema"][name]
        for name, optimizer in loop.optimizers.items():
            # none yet of a side that a first stage leaves alone
            state.load_moments(optimizer.optimizer, shared["optimizers"].get(name, {}), record["optimizers"][name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint {path} does not fit this run: {error}") from error
    for name, pool in loop.method.pools.items():
        pool.load_state_dict({key: value.to(device) for key, value in own["pools"][name].items()})
    _set_random_state(own["random"])
    if loop.accelerator.scaler is not None and record["scaler"]:
        loop.accelerator.scaler.load_state_dict(record["scaler"])
    loop.step, loop.seconds = record["step"], record["seconds"]
    loop.accelerator.print(f"going on from {path}, {loop.step:,} steps done")


def _check_same_run(loop, path, record, own):
    if record["method"] != loop.method.name:
        raise CheckpointError(f"{path} is a run of {record['method']}, not of {loop.method.name}.")
    processes = loop.accelerator.num_processes
    if record["processes"] != processes or own is None:
        raise CheckpointError(
            f"{path} is a run of {record['processes']} process(es), this one has {processes}: "
            "start as many, or the data would not go on where it stopped."
        )
    state.check_same_options(path, loop.config.resumable(), record["config"])


def init_from(loop, path):
    """Begin with the weights of a checkpoint (every network's) or of a pipeline folder (the generators').

    A light generator of a pipeline folder is grown where this run's is for twice the side, and deepened where this
    run's has more blocks.

    Networks that are not there keep their own initial weights: a method may begin with another one's generator.

    Raises:
        CheckpointError: neither a checkpoint nor a pipeline, none of the method's networks, or other ones.
    """
    path = Path(path)
    if (path / "state.json").is_file():
        weights = state.load_checkpoint(path, 0)[1]["networks"]
    elif (path / "model_index.json").is_file():
        weights = {
            name: _fitted(type(network).from_pretrained(path / name), network).state_dict()
            for name, network in loop.method.generators.items()
            if (path / name).is_dir()
        }
    else:
        raise CheckpointError(f"--init-from {path} is neither a checkpoint nor a pipeline folder.")
    known = loop.bare.keys() & weights.keys()
    if not known:
        raise CheckpointError(
            f"--init-from {path} has none of {', '.join(loop.bare)}: it is of {', '.join(weights) or 'other networks'}."
        )
    try:
        for name in known:
            loop.bare[name].load_state_dict(weights[name])
    except RuntimeError as error:
        raise CheckpointError(f"--init-from {path} has other networks: {first_line(error)}.") from error


def _fitted(loaded, network):
    ours, theirs = network.config, loaded.config
    if not isinstance(network, LightGenerator):
        return loaded
    if ours["fold"] == 2 * theirs["fold"]:
        loaded = loaded.grown(ours["detail"], ours["detail_blocks"])
    if tuple(ours["blocks"]) != tuple(theirs["blocks"]):
        loaded = loaded.deepened(ours["blocks"])
    return loaded


def untouched_random_state():
    """New networks draw initial weights: a run that writes results must go on as one that resumes from before them."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()) if torch.cuda.is_available() else [])


def _random_state():
    random = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    return random


def _set_random_state(random):
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
