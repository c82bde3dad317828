"""The options of the training scripts for jobs, checked before a job waits."""

from maskhub.errors import ConfigError
from maskhub.json_file import read_json

__all__ = ["classifier_options", "generator_options"]

DCGAN = {"width": 32, "mixed_precision": "auto", "channels_last": True}
"""Half of DCGAN's channels: minutes on a processor instead of an hour."""
CLASSIFIER = {"width": 16, "hidden": [64], "covered": 0.5, "batch_size": 32, "learning_rate": 1e-3}
"""A classifier of the app: the thesis's with fewer channels, trained on covered faces too, since it is used on them."""


def generator_options(request, models):
    """Options of ``train_scripts/train_reimaging.py`` for a :class:`~maskhub.service.jobs.Request`, which may start
    from one of the ``models``, a :class:`~maskhub.pipelines.model_registry.ModelRegistry`. ConfigError for a value that
    the app does not allow."""
    from maskhub.training.reimaging import ReimagingOptions

    if request.resolution not in (32, 64, 128) or not 2 <= request.batch_size <= 128:
        raise ConfigError("the resolution must be 32, 64 or 128 and the batch size from 2 to 128.")
    if request.architecture not in ("dense", "dcgan"):
        raise ConfigError("the network must be dense or dcgan.")
    if not 0 < request.learning_rate <= 0.1:
        raise ConfigError("the learning rate must be above 0 and at most 0.1.")
    names = ("architecture", "resolution", "batch_size", "learning_rate", "seed")
    options = {name: getattr(request, name) for name in names} | _lengths(request.max_steps)
    # averages over a quarter of a short run, so that it forgets the initial weights
    options["ema_decay"] = round(min(0.999, 1 - 4 / max(8, request.max_steps)), 6)
    if request.init_from:
        options |= _network_of(request.init_from, models)
    if options["architecture"] == "dcgan":
        options = DCGAN | options
    ReimagingOptions(source=["-"], output="-", **options).check()
    return options


def classifier_options(request, labels, resolution, photos):
    """Options of ``train_scripts/train_classifier.py`` for a :class:`~maskhub.service.jobs.Request` with an attribute.

    Of the ``photos`` training photos a fifth, up to 50, is held out for the curves; ``resolution`` is that of the
    generators to choose among. ConfigError for a value that the app does not allow.
    """
    from maskhub.training.classifier import ClassifierOptions

    options = CLASSIFIER | _lengths(request.max_steps) | {"attribute": request.attribute, "labels": list(labels)}
    options |= {"resolution": resolution, "validation": min(50, photos // 5), "seed": request.seed}
    ClassifierOptions(source=["-"], output="-", **options).check()
    return options


def _lengths(steps):
    return {
        "max_steps": steps,
        "log_every": max(1, min(50, steps // 40)),
        "sample_every": max(10, steps // 10),
        "checkpoint_every": max(10, min(200, steps // 10)),
        "keep_checkpoints": 1,
    }


def _network_of(name, models):
    """The architecture options of a model of the registry, so that its weights fit."""
    entry = models.get(name)
    configs = sorted(entry.path.glob("generators/*/config.json"))
    config = read_json(configs[0]) if len(configs) == 1 else None
    if config is None:
        raise ConfigError(f"{name} is not a generator, so training can't start from it.")
    own = {"resolution": config["resolution"], "latent": config["latent"]}
    if config["_class_name"] == "DenseGenerator":
        return own | {"architecture": "dense", "hidden": list(config["hidden"])}
    return own | {"architecture": "dcgan", "width": config["width"], "upsampling": config["upsampling"]}
