"""Find a pipeline's folder, on this machine or on the Hugging Face Hub, and check it before loading."""

from contextlib import contextmanager
from pathlib import Path

from maskhub.errors import CheckpointError, ConfigError, first_line
from maskhub.home import home_folder
from maskhub.hub_files import HUB_OPTIONS, hub_folder
from maskhub.models.stored import read_json
from maskhub.pipelines.remote_code import MODULE

__all__ = [
    "WEIGHTS", "check_index", "check_name", "fetch_options", "fetch_pipeline", "load_errors", "local_folder", "meant",
    "model_name", "models_folder", "with_variant",
]  # fmt: skip

WEIGHTS = Path(__file__).parent.parent / "weights"
"""Folder of the bundled pipelines, which are also found by their names, such as ``reimaging-64``."""


def models_folder():
    """Folder of the pipelines that ``maskhub models fetch`` fetched or the app trained, which are found by their names,
    too."""
    return home_folder() / "models"


def local_folder(name):
    """The folder ``name`` itself, or that of the bundled or fetched pipeline of this name; None if neither exists."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    places = [known / folder for known in (WEIGHTS, models_folder())] if len(folder.parts) == 1 else []
    return next((place for place in places if (place / "model_index.json").is_file()), None)


def fetch_pipeline(name, variant=None, onnx=False, **options):
    """The local folder of a pipeline, as :func:`local_folder` finds it; one on the Hub, ``user/name``, is first
    downloaded to the cache. CheckpointError if there is no such folder or repository, or no access or connection;
    ConfigError for a revision of a pipeline that isn't on the Hub.

    diffusers' own download rejects pipelines whose networks come from another package, and would fetch the weights of
    all variants. This fetches only configurations, the card and safetensors, never code or pickles.

    Args:
        variant: such as ``"fp16"``; also fetched if it is the only one.
        onnx: also fetch exported networks, if there are any; graphs without weights are small and always fetched.
        options: of :data:`maskhub.hub_files.HUB_OPTIONS`.
    """
    failed, folder = f"no pipeline could be loaded from {name}", local_folder(name)
    if folder is not None:
        if not (folder / "model_index.json").is_file():
            raise CheckpointError(f"{failed}: it has no model_index.json.{meant(folder)}")
        if options.get("revision"):
            kind = "a folder" if Path(name).expanduser().is_dir() else "the name of a pipeline on this machine"
            raise ConfigError(f"{name} is {kind}, which has no revisions: leave the revision out.")
        return folder
    folder = Path(name).expanduser()
    if folder.is_absolute() or len(folder.parts) != 2:
        raise CheckpointError(
            f"{failed}: there is no such folder, `maskhub models list` has no such name, and a Hub id has the form "
            "user/name."
        )
    weights = [f"*.{variant}.safetensors", f"*.{variant}-*.safetensors"] if variant else ["*.safetensors"]
    weights += ["*/graph.onnx", "*/graph-int8.onnx", *(["*/model.onnx"] if onnx else [])]
    others = [] if variant else ["*.*.safetensors"]  # weights of a variant have a second dot
    what = f"{failed}: there is no such folder, and the download from the Hub"
    fetched = hub_folder(str(name), what, ["*.json", "README.md", *weights], others, **options)
    if not (fetched / "model_index.json").is_file():
        raise CheckpointError(f"{failed}: the repository on the Hub has no model_index.json.")
    if not variant and not any(fetched.rglob("*.safetensors")):
        return fetch_pipeline(name, "fp16", onnx, **options)
    return fetched


def meant(folder):
    """A question for an error about a folder that is not a pipeline: whether the one in this run is meant."""
    inside = folder / "pipeline"
    return f" Did you mean {inside}?" if (inside / "model_index.json").is_file() else ""


def check_name(name):
    """Return ``name`` if a generator's folder may have it; else :class:`ConfigError`."""
    good = name and len(name) <= 64 and not name.startswith(".") and all(c.isalnum() or c in "-_." for c in name)
    if not good or not name.isascii():
        raise ConfigError(f"a model can't be called {name!r}: use up to 64 letters, digits, '-', '_' and '.'.")
    return name


def check_index(folder, name, settings, components):
    """Check a pipeline's ``model_index.json`` before diffusers imports and calls what it names. Returns the settings,
    and a dict of the components that are there: name → class name. CheckpointError for another pipeline class,
    components that aren't maskhub networks for that place, or settings out of bounds.

    Args:
        folder, name: of the pipeline and of its class.
        settings: subclass of :class:`~maskhub.models.configured.Configuration` for everything but the components.
        components: name of each component → a function that tells whether a subclass of ``Network`` fits there; or
            None, if its class is not going to be used.
    """
    path = folder / "model_index.json"
    index = {key: value for key, value in read_json(path).items() if key == "_class_name" or not key.startswith("_")}
    found = index.pop("_class_name", None)
    if found not in (name, [MODULE, name]):
        raise CheckpointError(f"it is a {str(found)[:80]}, not a {name}.")
    there = {}
    for part, fits in components.items():
        entry = index.pop(part, [None, None])
        if entry == [None, None]:
            continue
        library, kind = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
        if library != "maskhub" or not isinstance(kind, str) or not (fits is None or _fits(kind, fits)):
            raise CheckpointError(f"{path} names {str(kind)[:80]} as the {part}, which is not a valid network for it.")
        there[part] = kind
    try:
        return settings(**index), there
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path}: {first_line(error)[:300]}.") from error


def _fits(kind, fits):
    import maskhub
    from maskhub.models.network import Network

    network = getattr(maskhub, kind) if kind in maskhub.__all__ else None
    return isinstance(network, type) and issubclass(network, Network) and fits(network)


@contextmanager
def load_errors(source):
    """Convert any error raised while loading a pipeline to one CheckpointError that names it."""
    what = f"no pipeline could be loaded from {source}"
    try:
        yield
    except CheckpointError as error:
        raise error if str(error).startswith(what) else CheckpointError(f"{what}: {error}") from error
    except Exception as error:  # diffusers and safetensors raise errors of many types
        raise CheckpointError(f"{what}: {first_line(error)[:500]}.") from error


def with_variant(folder, options):
    """Options for ``from_pretrained``; if a folder only has one variant's weights, they select it, in float32 unless
    they have a dtype."""
    names = [path.name.split(".") for path in Path(folder).rglob("*.safetensors")]
    if options.get("variant") or not names or any(len(name) < 3 for name in names):
        return options
    import torch

    dtype = {} if "torch_dtype" in options else {"dtype": torch.float32}  # diffusers refuses both
    return {**dtype, **options, "variant": names[0][-2]}


def fetch_options(options):
    """Pop the options of :func:`fetch_pipeline` from those of ``from_pretrained``, as a dict."""
    return {name: options.pop(name) for name in HUB_OPTIONS if name in options}


def model_name(source):
    """A Hub id unchanged; for a folder its name without the path, which may contain a person's name."""
    folder = Path(source).expanduser()
    if not folder.is_dir():
        return str(source)
    names = [name for name in folder.resolve().parts[-2:] if name != "pipeline"]
    return names[-1] if names else "unnamed"
