"""The lines of code that travel with a pipeline, for those who load it through diffusers.

    DiffusionPipeline.from_pretrained("user/model", trust_remote_code=True)

diffusers looks up classes in such files; these only import them from maskhub, which must be installed. maskhub itself
never downloads or runs them.
"""

from maskhub.direction import ROLES

__all__ = ["MODULE", "code_files", "with_code"]

MODULE = "pipeline"
"""The module that ``model_index.json`` names with the class; its file is ``pipeline.py``."""
_ABOUT = '''"""For DiffusionPipeline.from_pretrained(..., trust_remote_code=True), with maskhub[torch] installed."""'''
_PIPELINE = f"""{_ABOUT}

from maskhub import FaceMaskPipeline  # noqa: F401
"""
_NETWORK = f"""{_ABOUT}

from maskhub import (  # noqa: F401
    AttentionGenerator,
    LightGenerator,
    ResnetGenerator,
    SimGenerator,
    UnetGenerator,
)
"""


def with_code(index):
    """A ``model_index.json`` as a dict, in the form in which diffusers looks for :data:`MODULE`."""
    return index | {"_class_name": [MODULE, "FaceMaskPipeline"]}


def code_files(index):
    """The files for a ``model_index.json``: path in the pipeline's folder → text."""
    roles = [role for role in ROLES if index.get(role, [None])[0]]
    # diffusers copies those of the networks to one place, so they must be alike
    return {f"{MODULE}.py": _PIPELINE, **{f"{role}/maskhub.py": _NETWORK for role in roles}}
