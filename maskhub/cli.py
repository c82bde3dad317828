"""The command line: ``maskhub mask | unmask | translate | cycle | outline | dataset | evaluate | models | convert |
push``.

Commands read options, call the package and print results. An error that the user can fix gives one line on standard
error and exit code 2.
"""

import sys
import warnings
from typing import Annotated

import tyro

from maskhub import __version__
from maskhub.commands.convert import convert, rewritten
from maskhub.commands.dataset import build, curate, draw
from maskhub.commands.evaluate import commands as evaluate_commands
from maskhub.commands.mask import mask
from maskhub.commands.models import fetch, listed
from maskhub.commands.photos import Input, cycle, outline, translate, unmask
from maskhub.errors import MaskHubError
from maskhub.extras import explained
from maskhub.options import registry
from maskhub.stdout import OutputError, checked_stdout, report

__all__ = ["main"]

Repo = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")]


def push(folder: Input, repo: Repo, /, private: bool = False, revision: str | None = None, onnx: bool = False) -> int:
    """Upload a pipeline folder to the Hugging Face Hub.

    Args:
        folder: The pipeline folder, such as RUN/pipeline.
        repo: Repository id, user/name.
        private: Make a new repository private; by default it is what the user or organisation has chosen.
        revision: Branch to commit to; created if it is missing.
        onnx: First write the networks as ONNX into the folder: graph.onnx next to the weights, to run them without
            torch, and onnx/ for programs in other languages. Needs `pip install 'maskhub[export]'`.
    """
    from maskhub.hub import push_folder

    if onnx:
        from maskhub.pipelines.face_mask import FaceMaskPipeline

        pipeline = FaceMaskPipeline.from_pretrained(folder)
        with rewritten(folder) as temporary:
            pipeline.add_onnx(temporary)
    print(f"pushed to {push_folder(folder, repo, private=private or None, revision=revision)}")
    return 0


COMMANDS = {
    "mask": mask,
    "unmask": unmask,
    "translate": translate,
    "cycle": cycle,
    "outline": outline,
    "dataset build": build,
    "dataset curate": curate,
    "dataset draw": draw,
    "models list": listed,
    "models fetch": fetch,
    "convert": convert,
    "push": push,
}


FAMILIES = {
    "dataset": "Make datasets from photos.",
    "evaluate": "Measure pictures and networks, and make reports.",
    "models": "Pipelines that are loaded by a name.",
}


def main(args=None):
    """Run one command and exit with its code; 141 if a reader of its output, such as ``head``, has closed it."""
    try:
        with checked_stdout():
            _run(args)
    except OutputError as error:
        sys.exit(report(error, "maskhub"))


def _run(args):
    for stream in (sys.stdout, sys.stderr):  # file names may not be valid text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *rest, **more: f"maskhub: {message}\n"  # without a line of code
    args = list(sys.argv[1:] if args is None else args)
    if args == ["--version"]:
        print(f"maskhub {__version__}")
        sys.exit(0)
    prog, about, family = "maskhub", "Put face masks on photos and take them off (--version prints the version).", None
    try:
        measures = evaluate_commands(args[1] if args[:1] == ["evaluate"] and len(args) > 1 else None)
        commands = COMMANDS | {f"evaluate {name}": command for name, command in measures.items()}
        if args and args[0] in FAMILIES:  # tyro would take a command name of two words as one argument
            family, args = args[0], args[1:]
            prog, about = f"maskhub {family}", FAMILIES[family]
            commands = {name.split()[1]: command for name, command in commands.items() if name.startswith(f"{family} ")}
        # commands with all numbers and choices in option sets, which report bad values in one line
        rules = registry() if family == "evaluate" or args[:1] in (["mask"], ["build"], ["curate"]) else None
        if args and args[0] in commands:  # the options of all the others would take longer than a photo
            code = tyro.cli(commands[args[0]], prog=f"{prog} {args[0]}", args=args[1:], registry=rules)
        else:
            code = tyro.extras.subcommand_cli_from_dict(
                commands, prog=prog, description=about, args=args, registry=rules
            )
    except (MaskHubError, ImportError) as error:
        if not isinstance(error := explained(error), MaskHubError):
            raise
        print(f"maskhub: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("maskhub: stopped; finished results are kept.", file=sys.stderr)
        code = 130
    sys.exit(code)
