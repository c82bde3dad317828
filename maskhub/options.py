"""Options with declared types and ranges: one declaration for Python, the command line and YAML recipes.

    class Options(OptionSet):
        batch_size: Positive = 1
        \"\"\"Photos a step.\"\"\"
        lambda_cycle: Weight = 10.0
        \"\"\"Weight of the cycle loss.\"\"\"

    Options(batch_size=-1)                      # ConfigError: --batch-size is -1; it must be at least 1.
    parse(Options, args=["--recipe", "run.yaml", "--batch-size", "4"])

A bad value gives the same message wherever it comes from. Markers on a field say more about it: :data:`FREE` options
may change when a run is resumed, :data:`STAGED` ones in the stages of a recipe.
"""

import argparse
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args, get_origin

import tyro
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from maskhub.errors import ConfigError, first_line

__all__ = [
    "COMMAS", "FREE", "STAGED", "Count", "OptionSet", "Positive", "Rate", "Share", "Weight", "flag", "named", "parse",
    "read_recipe", "refuse", "registry",
]  # fmt: skip


class Mark(str):
    """A marker on a field."""


FREE, STAGED = Mark("free"), Mark("staged")

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
"""A decay or a dropout."""
Weight = Annotated[float, Field(ge=0), STAGED]
"""Weight of a loss term, which may change in stages."""


def _split(names):
    names = names.split(",") if isinstance(names, str) else names
    return tuple(dict.fromkeys(name.strip() for name in names if name.strip()))


COMMAS = (
    BeforeValidator(_split),
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="NAME,...",
        instance_from_str=lambda texts: _split(texts[0]),
        is_instance=lambda names: isinstance(names, tuple),
        str_from_instance=lambda names: [",".join(names)],
    ),
)
"""Annotations of a tuple of names that may also be text with commas; repeated names count once."""


class OptionSet(BaseModel):
    """Base of every set of options. Options are immutable; :meth:`replaced` returns a changed copy. ConfigError for an
    unknown option, or a value of the wrong type or out of range."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)
    resets: ClassVar[dict] = {}
    """Option → values of a recipe's options that no longer apply when the command line gives it."""

    def __init__(self, **values):
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(self._message(error.errors()[0])) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **settings):
        """An option that only gets another default keeps the base's description."""
        for name, field in cls.model_fields.items():
            for base in cls.__mro__[1:]:
                known = getattr(base, "model_fields", {}).get(name)
                field.description = field.description or (known and known.description)

    def replaced(self, **changes):
        """A copy with other values, validated again."""
        return type(self)(**dict(self) | changes)

    def refuse(self, what, *names):
        """ConfigError if one of these options, which can't be used ``what``, such as "with --model", has another value
        than its default."""
        fields = type(self).model_fields
        refuse(
            what, [name for name in names if getattr(self, name) != fields[name].get_default(call_default_factory=True)]
        )

    @classmethod
    def marked(cls, mark):
        """Names of the options with a marker."""
        return [name for name, field in cls.model_fields.items() if mark in field.metadata]

    @classmethod
    def shown(cls, name):
        """An option's name as shown in error messages."""
        return flag(name)

    @classmethod
    def _message(cls, problem):
        name, value = str(problem["loc"][0]), problem["input"]
        if problem["type"] == "extra_forbidden":
            return f"there is no option {cls.shown(name)}."
        shown = value if _is_number(value) else repr(value)
        return f"{cls.shown(name)} is {shown}; it must be {_wanted(cls.model_fields[name], problem)}."


def flag(name):
    """An option's name on the command line."""
    return f"--{name.replace('_', '-')}"


def refuse(what, names):
    """ConfigError if options of these names, which can't be used ``what``, such as "with --model", are given: what is
    ignored silently is taken for done."""
    if names:
        leave = "leave it out" if len(names) == 1 else "leave them out"
        raise ConfigError(f"{', '.join(map(flag, names))} can't be used {what}: {leave}.")


def _wanted(field, problem):
    """What a value must be, in words."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "literal_error":
        return f"one of {context['expected'].replace(chr(39), '').replace(' or ', ', ')}"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than", "multiple_of"):
        names = ("ge", "gt", "le", "lt", "multiple_of")
        declared = {name: getattr(m, name) for m in field.metadata for name in names if hasattr(m, name)}
        return _range(declared or context)
    if kind in ("too_short", "too_long", "missing"):
        lengths = [getattr(m, n) for n in ("min_length", "max_length") for m in field.metadata if hasattr(m, n)]
        return f"{' to '.join(map(str, lengths or [len(get_args(field.annotation))]))} values"
    for prefix, words in {
        "int": "a whole number", "float": "a number", "finite": "a finite number", "bool": "true or false",
        "string": "text", "tuple": "a list", "list": "a list", "dict": "a mapping", "path": "a path",
    }.items():  # fmt: skip
        if kind.startswith(prefix):
            return words
    return problem["msg"].removeprefix("Input should be ")


def _range(bounds):
    bounds = {name: bound if isinstance(bound, int) else f"{bound:g}" for name, bound in bounds.items()}
    low, high = bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))
    words = [f"a multiple of {bounds['multiple_of']}"] if "multiple_of" in bounds else []
    if "ge" in bounds and "le" in bounds:
        words.append(f"from {low} to {high}")
    else:
        words += [f"{'at least' if 'ge' in bounds else 'above'} {low}"] if low is not None else []
        words += [f"{'at most' if 'le' in bounds else 'below'} {high}"] if high is not None else []
    return " and ".join(words)


def _is_number(value):
    try:
        return float(value) is not None
    except (TypeError, ValueError, OverflowError):
        return False


# ---- command line and recipes ----------------------------------------------------------------------------------------


def parse(options_class, description=None, args=None):
    """Read options: the ``--recipe`` file overrides the defaults, and the command line overrides both. ConfigError for
    an unknown option or a bad value in either."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe")
    for name in options_class.resets:
        early.add_argument(flag(name), f"--{name}", dest=name)
    early = early.parse_known_args(args)[0]
    default = read_recipe(early.recipe, options_class) if early.recipe else options_class()
    for name, values in options_class.resets.items():
        if getattr(early, name) is not None:
            default = default.replaced(**values)
    options, unknown = tyro.cli(
        options_class, default=default, description=description, args=args, registry=registry(),
        return_unknown_args=True,
    )  # fmt: skip
    if unknown:
        raise ConfigError(f"there is no option {unknown[0]}; --help lists them all.")
    return options


def read_recipe(path, options_class):
    """Read options from a YAML file, whose keys may be written with - or _. ConfigError if there is no such file, it is
    not a YAML mapping, or it has an unknown option or a bad value."""
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"the recipe {path} can't be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"the recipe {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"the recipe {path} must be a mapping of options to values.")
    try:
        return options_class(**named(values))
    except ConfigError as error:
        raise ConfigError(f"the recipe {path}: {first_line(error)}.") from error


def named(values):
    """A YAML mapping with its keys converted to the options' Python names."""
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def registry():
    """Rules that make tyro pass numbers and choices as text: the options validate them and report errors."""
    rules = ConstructorRegistry()

    @rules.primitive_rule
    def as_text(info: PrimitiveTypeInfo):
        kind = info.type
        if kind in (int, float):
            metavar, is_instance = kind.__name__.upper(), lambda value: isinstance(value, (int, float))
        elif get_origin(kind) is Literal:
            metavar, is_instance = f"{{{','.join(map(str, get_args(kind)))}}}", lambda value: value in get_args(kind)
        else:
            return None
        return PrimitiveConstructorSpec(
            nargs=1, metavar=metavar, instance_from_str=lambda texts: texts[0], is_instance=is_instance,
            str_from_instance=lambda value: [str(value)],
        )  # fmt: skip

    return rules
