"""maskhub: Hugging-Face-native GANs that put face masks on photos and remove them.

    from PIL import Image
    from maskhub import FaceMaskPipeline

    pipe = FaceMaskPipeline.bundled()
    pipe.mask(Image.open("photo.jpg")).save("masked.png")

Public names are imported on first use, so that ``import maskhub`` stays fast.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "FaceMaskPipeline": "maskhub.pipelines.face_mask",
    "AttentionGenerator": "maskhub.models.attention",
    "AttributeClassifier": "maskhub.models.classifier",
    "DcganDiscriminator": "maskhub.models.dcgan",
    "DcganGenerator": "maskhub.models.dcgan",
    "DenseDiscriminator": "maskhub.models.dense",
    "DenseGenerator": "maskhub.models.dense",
    "LightGenerator": "maskhub.models.light",
    "MaskDetector": "maskhub.models.mask_detector",
    "FeatureNetwork": "maskhub.models.features",
    "PatchDiscriminator": "maskhub.models.patch",
    "OnnxFaceMaskPipeline": "maskhub.pipelines.onnx_face_mask",
    "ReimagingPipeline": "maskhub.pipelines.reimaging",
    "ResnetGenerator": "maskhub.models.resnet",
    "SimDiscriminator": "maskhub.models.simgan",
    "SimGenerator": "maskhub.models.simgan",
    "UnetGenerator": "maskhub.models.unet",
    "Face": "maskhub.faces.face",
    "detect": "maskhub.faces.detect",
    "open_photo": "maskhub.faces.photo",
    "Provenance": "maskhub.provenance",
    "read_provenance": "maskhub.provenance",
    "CheckpointError": "maskhub.errors",
    "ConfigError": "maskhub.errors",
    "DivergenceError": "maskhub.errors",
    "HubError": "maskhub.errors",
    "MaskHubError": "maskhub.errors",
    "MissingExtraError": "maskhub.extras",
    "NoFaceError": "maskhub.errors",
    "NothingToDoError": "maskhub.errors",
    "PhotoError": "maskhub.errors",
    "SourceError": "maskhub.errors",
    "VideoError": "maskhub.errors",
    "FrameTranslator": "maskhub.pipelines.live",
    # diffusers looks up the base class of a saved component in the package that its model_index.json names
    "ModelMixin": "diffusers",
}

__all__ = ["__version__", *sorted(_HOMES.keys() - {"ModelMixin"})]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module 'maskhub' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOMES[name]), name)
    except ImportError as error:
        from maskhub.extras import explained

        raise explained(error) from error
    globals()[name] = value
    return value


def __dir__():
    return __all__
