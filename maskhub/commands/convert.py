"""``maskhub convert``: import generators of other projects, and export pipelines to ONNX."""

import shutil
from contextlib import contextmanager, suppress
from typing import Annotated, Literal

import tyro

from maskhub.commands.photos import Output
from maskhub.errors import ConfigError, NoFaceError
from maskhub.options import refuse

__all__ = ["convert", "rewritten"]

APPLIES = {"architecture": ("maskhub",), "any_size": ("onnx", "onnx-graph"), "unmasked": ("int8",), "masked": ("int8",)}
"""Option → the values of --to that it is for."""
PHOTOS = 12
"""Of each source, to calibrate 8 bits on."""


def convert(
    input: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")],
    output: Output,
    /,
    architecture: Literal["auto", "resnet_9blocks", "resnet_6blocks", "unet_256", "unet_128"] = "auto",
    to: Literal["maskhub", "onnx", "onnx-graph", "onnx-crops", "int8"] = "maskhub",
    any_size: bool = False,
    unmasked: tuple[str, ...] = (),
    masked: tuple[str, ...] = (),
) -> int:
    """Convert a generator of another project for from_pretrained, or export a pipeline's networks as ONNX files.

    Args:
        input: A checkpoint of the pytorch-CycleGAN-and-pix2pix repository, such as latest_net_G_A.pth; with any
            other --to, a pipeline's folder or Hub id.
        output: The folder to write: config.json and safetensors, in float32 and as fp16 variant; with --to onnx a copy
            of the pipeline with a model.onnx next to each network's safetensors, with --to onnx-graph a graph.onnx;
            with --to int8 a graph-int8.onnx; with --to onnx-crops only onnx/masker.onnx and onnx/unmasker.onnx.
        architecture: The checkpoint's --netG; auto detects it.
        to: onnx writes networks for onnxruntime; onnx-graph writes only the graphs, about 40 kB each, which take
            their weights from the safetensors and run without torch. onnx-crops writes graphs that take and return
            pictures, for programs in other languages. int8 writes graphs that compute in 8 bits, calibrated on the
            built-in portraits. All need `pip install 'maskhub[export]'`.
        any_size: With onnx and onnx-graph: accept any height and width instead of the pipeline's resolution only.
        unmasked: With int8: folders or Hub datasets of aligned faces, some photos of which are also used to calibrate.
            For an unmasker, masks are drawn on them by rule.
        masked: The same for faces with masks.
    """
    given = {"architecture": architecture != "auto", "any_size": any_size, "unmasked": unmasked, "masked": masked}
    refuse(f"with --to {to}", [name for name, value in given.items() if value and to not in APPLIES[name]])
    if to != "maskhub":
        from maskhub.models.onnx_file import FILE, GRAPH
        from maskhub.pipelines.load import load_pipeline

        pipeline, file = load_pipeline(input, "cpu"), FILE if to == "onnx" else GRAPH
        if to == "onnx-crops":
            with rewritten(output) as folder:
                made = pipeline.export_crop_graphs(folder)
            for path, difference in made.items():
                print(f"wrote {output / path.relative_to(folder)}: within {difference}/255 of torch")
            return 0
        if to == "int8":
            return _in_8_bits(pipeline, output, unmasked, masked)
        with rewritten(output) as folder:
            made = pipeline.export_onnx(folder, any_size, weights=to == "onnx")
        for name, difference in made.items():
            print(f"wrote {output / name / file}: within {127.5 * difference:.1g}/255 of torch")
        return 0
    from maskhub.models.convert import convert_cyclegan_generator

    generator = convert_cyclegan_generator(input, None if architecture == "auto" else architecture)
    count = sum(parameter.numel() for parameter in generator.parameters())
    with rewritten(output) as folder:
        generator.save_pretrained(folder)
        generator.half().save_pretrained(folder, variant="fp16")
    print(f"wrote {output}: {type(generator).__name__} of width {generator.config.width}, {count:,} parameters")
    return 0


def _in_8_bits(pipeline, output, unmasked, masked):
    from maskhub.models.onnx_file import INT8

    with rewritten(output) as folder:
        made = pipeline.export_int8(folder, *_crops(pipeline.config.resolution, unmasked, masked))
    for name, errors in made.items():
        print(f"wrote {output / name / INT8}: within {errors.pop(None):.2f}/255 of float32")
        for layer, error in errors.items():
            print(f"  {layer} alone: {error:.2f}/255")
    return 0


def _crops(side, unmasked, masked):
    """Aligned crops of faces without masks, and of faces with masks, uint8 side×side×3: built-in portraits, and photos
    of these sources without the held-out tenth."""
    import numpy as np

    from maskhub.data.portraits import portraits
    from maskhub.data.sources import open_source
    from maskhub.masks.wear import wear

    def photos(specs):
        for source in (open_source(spec, holdout=True) for spec in specs):
            yield from (photo for _, photo in source.walk(range(min(PHOTOS, source.size or PHOTOS)), seed=0))

    bare = [portrait.image for portrait in portraits("builtin:portraits:train")[::6]]
    covered = [portrait.image for portrait in portraits("builtin:portraits/masked:train")[::6]]
    for seed, photo in enumerate(photos(unmasked)):
        bare.append(photo)
        with suppress(NoFaceError):
            covered.append(wear(photo, seed=seed).image)
    covered += photos(masked)
    return [[np.asarray(photo.resize((side, side))) for photo in crops] for crops in (bare, covered)]


@contextmanager
def rewritten(output):
    """A temporary folder with the current files of ``output``, which it replaces atomically."""
    from maskhub.files import written_folder

    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file: choose a folder.")
    with written_folder(output.absolute()) as folder:
        if output.exists():
            shutil.copytree(output, folder, dirs_exist_ok=True)
        yield folder
