"""The command line: ``maskhub mask | unmask | cycle | outline | dataset ... | evaluate ... | convert | push``.

Commands read options and print results; what they do lives in the package. An error that the user can mend is one line
on standard error and exit code 2.
"""

import sys
from typing import Annotated, Literal

import tyro

from maskhub.commands.dataset import build, curate, draw
from maskhub.commands.evaluate import commands as evaluate_commands
from maskhub.commands.photos import Input, Output, cycle, mask, outline, translate, unmask
from maskhub.errors import MaskHubError

__all__ = ["main"]

Repo = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")]


def convert(
    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")],
    output: Output,
    /,
    architecture: Literal["resnet_9blocks", "resnet_6blocks"] = "resnet_9blocks",
    to: Literal["maskhub", "onnx", "onnx-graph"] = "maskhub",
    any_size: bool = False,
) -> int:
    """Read a foreign generator into a folder for from_pretrained, or export a pipeline's networks as ONNX files.

    Args:
        input: A checkpoint of the pytorch-CycleGAN-and-pix2pix repository, such as latest_net_G_A.pth; with --to onnx
            a pipeline's folder or Hub id.
        output: The folder to write: config.json and safetensors, in float32 and as fp16 variant; with --to onnx the
            pipeline again, with a model.onnx beside each network's safetensors, with --to onnx-graph a graph.onnx.
        architecture: The checkpoint's --netG.
        to: onnx writes networks for onnxruntime, onnx-graph the graphs alone, some ten kilobytes, to which the
            safetensors give their weights; needs the extra packages of `pip install 'maskhub[export]'`.
        any_size: With these, graphs for any height and width, not for the pipeline's resolution alone.
    """
    if to != "maskhub":
        from maskhub.models.export import FILE, GRAPH
        from maskhub.pipelines.load import load_pipeline

        pipeline, file = load_pipeline(input, "cpu"), FILE if to == "onnx" else GRAPH
        for name, difference in pipeline.export_onnx(output, any_size, weights=to == "onnx").items():
            print(f"wrote {output / name / file}: within {127.5 * difference:.1g}/255 of torch")
        return 0
    from maskhub.models.convert import convert_cyclegan_generator

    generator = convert_cyclegan_generator(input, architecture)
    generator.save_pretrained(output)
    generator.half().save_pretrained(output, variant="fp16")
    count = sum(parameter.numel() for parameter in generator.parameters())
    print(f"wrote {output}: ResnetGenerator of width {generator.config.width}, {count:,} parameters")
    return 0


def push(folder: Input, repo: Repo, /, private: bool = False, revision: str | None = None) -> int:
    """Upload a pipeline folder to the Hugging Face Hub.

    Args:
        folder: The pipeline folder, such as RUN/pipeline.
        repo: Repository id, user/name.
        private: Make a new repository private.
        revision: Branch to commit to; made where it is missing.
    """
    from maskhub.hub import push_folder

    print(f"pushed to {push_folder(folder, repo, private=private, revision=revision)}")
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
    "convert": convert,
    "push": push,
}


FAMILIES = {"dataset": "Make datasets of photos.", "evaluate": "Measure pictures and networks; reports of the figures."}


def main(args=None):
    """Run one command and exit with its code."""
    for stream in (sys.stdout, sys.stderr):  # names of files may be of bytes that are no text
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    args = list(sys.argv[1:] if args is None else args)
    prog, about = "maskhub", "Put face masks on photos and take them off."
    measures = evaluate_commands(args[1] if args[:1] == ["evaluate"] and len(args) > 1 else None)
    commands = COMMANDS | {f"evaluate {name}": command for name, command in measures.items()}
    if args and args[0] in FAMILIES:  # tyro takes a name of two words for one argument
        family, args = args[0], args[1:]
        prog, about = f"maskhub {family}", FAMILIES[family]
        commands = {name.split()[1]: command for name, command in commands.items() if name.startswith(f"{family} ")}
    try:
        code = tyro.extras.subcommand_cli_from_dict(commands, prog=prog, description=about, args=args)
    except MaskHubError as error:
        print(f"maskhub: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("maskhub: stopped; what is done is kept.", file=sys.stderr)
        code = 130
    sys.exit(code)
