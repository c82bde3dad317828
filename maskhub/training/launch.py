"""Entry point of the training scripts: options, recipe, training, upload. Errors that users can fix take one line."""

import errno
import os
import signal
import sys
import warnings

from maskhub.errors import MaskHubError, first_line
from maskhub.options import parse
from maskhub.stdout import CLOSED, OutputError, checked_stdout, report

__all__ = ["launch"]

INTERRUPTED = 128 + signal.SIGINT
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def launch(task_class, description=None, args=None):
    """Run one training script: ``task_class`` with the arguments of the command line, or ``args``. Exits with code 2
    after an error that the user can fix, printed in one line; with 130 or 143 after a signal; with 141 if a reader of
    the output, such as ``head``, has closed it."""
    from maskhub.training.trainer import Trainer

    trainer, code = None, 0
    warnings.formatwarning = lambda message, *rest, **more: f"warning: {message}\n"  # without a line of code
    try:
        with checked_stdout():
            options = parse(task_class.Options, description, args)
            trainer = Trainer(task_class, options)
            if options.dry_run:
                for name, value in trainer.options.model_dump().items():
                    trainer.accelerator.print(f"{name}: {value}")
                trainer.accelerator.print(*trainer.describe(), sep="\n")
            else:
                code = _train(trainer)
    except OutputError as error:
        code = report(error, "error")
    except MaskHubError as error:
        code = _say(f"error: {one_line(error)}")
    except KeyboardInterrupt:  # before the first step or after the last one; in between, it stops the run after a step
        _say("stopped; continue with --resume latest")
        code = INTERRUPTED
    except OSError as error:  # from libraries that write files themselves
        if error.errno not in NO_ROOM:
            raise
        code = _say(f"error: {error.filename or options.output} could not be written: {error.strerror}.")
    except (MemoryError, RuntimeError) as error:
        if not (why := _out_of_memory(error)):
            raise
        code = _say(f"error: {why}.")
    if code in (2, CLOSED) and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(code)  # other processes may be waiting for this one; the launcher ends them
    if trainer is not None:
        trainer.close()
    if code:
        sys.exit(code)


def _train(trainer):
    repo_id = trainer.options.push_to_hub if trainer.accelerator.is_main_process else None
    if repo_id:
        from maskhub.hub import check_push, push_folder

        check_push(repo_id)  # an error now, not after hours of training
    result = trainer.run()
    if result is None:
        trainer.accelerator.print(
            f"stopped at step {trainer.step:,}; continue with --resume latest", file=sys.stderr, flush=True
        )
        return trainer.exit_code
    trainer.accelerator.print(f"wrote {result}", flush=True)
    if repo_id:
        print(f"pushed to {push_folder(result, repo_id)}")
    trainer.accelerator.wait_for_everyone()
    return 0


def _out_of_memory(error):
    """What to do about an error of torch that comes from a lack of memory; None for other errors."""
    import torch

    text = first_line(error).partition(". ")[0]
    if text.startswith("DataLoader worker"):
        return f"a process that reads photos has ended, as when memory runs out ({text}): use fewer --workers"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return f"memory ran out ({text}): use a smaller --batch-size or --resolution"
    return None


def one_line(error):
    """An error's message in one line; that of a worker process contains a traceback, whose last line is the message."""
    last = str(error).strip().splitlines()[-1]
    return last.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")


def _say(text):
    print(text, file=sys.stderr, flush=True)
    return 2
