"""From a command line to a finished run: options, recipe, loop, upload; every mendable error is one line."""

import argparse
import dataclasses
import errno
import os
import sys

import tyro

from maskhub.errors import MaskHubError
from maskhub.training.config import read_recipe

__all__ = ["launch", "parse"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def parse(config_class, description, args=None):
    """Read the options: defaults, over them the recipe, over that the command line; checked."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe")
    recipe = early.parse_known_args(args)[0].recipe
    default = read_recipe(recipe, config_class) if recipe else config_class()
    config = tyro.cli(config_class, default=default, description=description, args=args)
    config.check()
    return config


def launch(method_class, config_class, description, args=None):
    """Run one training script; exits with 2 and one line where the user can mend what is wrong."""
    from maskhub.training.loop import TrainingLoop  # a second to import, which the small networks' scripts do without

    loop, code = None, 0
    try:
        config = parse(config_class, description, args)
        loop = TrainingLoop(method_class, config)
        if config.dry_run:
            _show(loop)
        else:
            _train(loop)
    except MaskHubError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr, flush=True)
        code = 2
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        text = f"error: no room left in {config.output} ({error.strerror}): make some and go on with --resume latest."
        print(text, file=sys.stderr, flush=True)
        code = 2
    except KeyboardInterrupt:
        print("stopped; go on with --resume latest", file=sys.stderr, flush=True)
        code = 130
    if code and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(code)  # the other processes may be waiting for this one: the launcher ends them
    if loop is not None:
        loop.close()
    if code:
        sys.exit(code)


def _one_line(error):
    """An error's message; one that a worker process raised comes with its traceback, whose end is the message."""
    last = str(error).strip().splitlines()[-1]
    return last.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")


def _show(loop):
    for name, value in dataclasses.asdict(loop.config).items():
        loop.accelerator.print(f"{name}: {value}")
    for line in loop.describe():
        loop.accelerator.print(line)


def _train(loop):
    pipeline, repo_id = loop.run(), loop.config.push_to_hub
    loop.accelerator.print(f"wrote {pipeline}")
    if repo_id and loop.accelerator.is_main_process:
        from maskhub.hub import push_folder

        print(f"pushed to {push_folder(pipeline, repo_id)}")
    loop.accelerator.wait_for_everyone()
