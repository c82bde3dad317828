"""The command line: ``maskhub mask | unmask | cycle | convert | push``.

Commands here read options and print results; what they do lives in the package. An error that the user can mend is one
line on standard error and exit code 2.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from maskhub.errors import MaskHubError, PhotoError

__all__ = ["main"]

Input = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")]
Output = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUTPUT")]
Repo = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="USER/NAME")]


def mask(
    input: Input, output: Output, /, model: str | None = None, device: str = "auto", overwrite: bool = False
) -> int:
    """Put a face mask on every face of a photo or of a folder of photos.

    Args:
        input: A photo or a folder.
        output: Where the result goes: a file for a photo, a folder for a folder.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        device: cpu, cuda, mps, or auto for the best there is.
        overwrite: Make results anew that exist already.
    """
    return _translate("mask", input, output, model, device, overwrite)


def unmask(
    input: Input, output: Output, /, model: str | None = None, device: str = "auto", overwrite: bool = False
) -> int:
    """Take the mask off every face of a photo or of a folder of photos.

    Args:
        input: A photo or a folder.
        output: Where the result goes: a file for a photo, a folder for a folder.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        device: cpu, cuda, mps, or auto for the best there is.
        overwrite: Make results anew that exist already.
    """
    return _translate("unmask", input, output, model, device, overwrite)


def cycle(
    input: Input,
    output: Output,
    /,
    start: Literal["mask", "unmask"] = "mask",
    model: str | None = None,
    device: str = "auto",
) -> int:
    """Translate a photo there and back: writes photo | there | back side by side and prints the cycle error.

    Args:
        input: A photo.
        output: The picture to write.
        start: Direction of the way there.
        model: Pipeline folder or Hub id; the bundled checkpoint if not given.
        device: cpu, cuda, mps, or auto for the best there is.
    """
    from PIL import Image

    from maskhub.data.batch import save_photo
    from maskhub.faces.photo import open_photo

    photo = open_photo(input)
    result = _pipeline(model, device).cycle(photo, start=start, details=True)
    pictures = [photo, result.there[0], result.images[0]]
    sheet = Image.new("RGB", (3 * photo.width, photo.height))
    for place, picture in enumerate(pictures):
        sheet.paste(picture.convert("RGB"), (place * photo.width, 0))
    save_photo(sheet, output)
    errors = ", ".join(f"{error:.2f}" for error in result.cycle_errors[0])
    print(f"wrote {output}; cycle error of each face (mean change, 0 to 255): {errors}")
    return 0


def convert(
    input: Input, output: Output, /, architecture: Literal["resnet_9blocks", "resnet_6blocks"] = "resnet_9blocks"
) -> int:
    """Read a generator of the pytorch-CycleGAN-and-pix2pix repository into a folder for from_pretrained.

    Args:
        input: A checkpoint such as latest_net_G_A.pth.
        output: The folder to write: config.json and safetensors, in float32 and as fp16 variant.
        architecture: Its --netG.
    """
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


COMMANDS = {"mask": mask, "unmask": unmask, "cycle": cycle, "convert": convert, "push": push}


def main(args=None):
    """Run one command and exit with its code."""
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            COMMANDS, prog="maskhub", description="Put face masks on photos and take them off.", args=args
        )
    except MaskHubError as error:
        print(f"maskhub: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)


def _translate(direction, source, output, model, device, overwrite):
    from maskhub.data.batch import process_folder, save_photo

    if not source.exists():
        raise PhotoError(f"there is no photo or folder {source}.")
    pipeline = _pipeline(model, device)
    if source.is_file():
        save_photo(pipeline(source, direction), output)
        print(f"wrote {output}")
        return 0
    report = process_folder(source, output, lambda path: pipeline(path, direction), overwrite=overwrite)
    print(f"{report.made} made, {report.kept} there already, {len(report.failures)} failed")
    if report.failures:
        print(f"see {output / 'failures.csv'}", file=sys.stderr)
    return 2 if report.failures else 0


def _pipeline(model, device):
    import torch
    from diffusers.utils import logging

    from maskhub.pipelines.face_mask import FaceMaskPipeline

    logging.disable_progress_bar()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    pipeline = FaceMaskPipeline.bundled() if model is None else FaceMaskPipeline.from_pretrained(model)
    return pipeline.to(device)
