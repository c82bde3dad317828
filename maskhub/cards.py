"""Model and dataset cards as structures: front matter, title, usage, sections and, for models, evaluation results.

    card = ModelCard("CycleGAN", {"license": "other"}, usage='pipe("photo.jpg")', sections=[Section("Limits", "…")])
    write_file(folder / "README.md", card.render())

    card = ModelCard.load(folder)          # any README.md, hand-written ones included
    card.set_figures(results)              # one huggingface_hub.EvalResult per figure
    write_file(folder / "README.md", card.render())

A README.md is read back section by section, so that text added by people stays in place.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from maskhub.errors import ConfigError

__all__ = ["FIGURES", "THIS_REPOSITORY", "DataCard", "ModelCard", "Section", "markdown_table"]

THIS_REPOSITORY = "THIS_REPOSITORY"
"""Placeholder for the repository's id until the card is pushed."""
FIGURES = "Measured by maskhub evaluate"
"""Title of the section that is generated from the figures in the front matter."""
_OLD_FIGURES = re.compile(
    r"<!-- figures of maskhub evaluate -->\n## Figures\n(.*?)<!-- end of figures -->\n?", re.DOTALL
)
"""How earlier versions delimited the figures."""
_FENCE = re.compile(r"^\s*(```|~~~)")


@dataclass
class Section:
    """A ``##`` section: its title and its Markdown text."""

    title: str
    text: str


@dataclass
class Card:
    """A ``README.md`` for the Hugging Face Hub: the heading, YAML front matter (None values are omitted), Python
    code and Markdown text below the heading, and a list of :class:`Section`."""

    title: str
    front: dict
    usage: str = ""
    about: str = ""
    sections: list = field(default_factory=list)

    def render(self):
        """The card as Markdown with YAML front matter."""
        head = [f"```python\n{self.usage.strip()}\n```"] if self.usage else []
        head += [self.about.strip("\n")] if self.about else []
        sections = [f"## {section.title}\n{self._text(section)}".rstrip() for section in self.sections]
        body = "\n\n".join([f"# {self.title}", *head, *sections])
        return f"---\n{self._data().to_yaml()}\n---\n{body}\n"

    def _text(self, section):
        return section.text

    def _data(self):
        raise NotImplementedError


class DataCard(Card):
    """The card of a dataset; ``front`` as in ``huggingface_hub.DatasetCardData``."""

    def _data(self):
        from huggingface_hub import DatasetCardData

        return DatasetCardData(**self.front)


@dataclass
class ModelCard(Card):
    """The card of a model; ``front`` as in ``huggingface_hub.ModelCardData``. ``figures`` are
    ``huggingface_hub.EvalResult`` s, written to the front matter (``model-index``) and, as a table, to the section
    :data:`FIGURES` if the card has one."""

    figures: list = field(default_factory=list)

    def set_figures(self, figures):
        """Replace the figures; a missing section is added before the limits, or at the end."""
        self.figures = list(figures)
        titles = [section.title for section in self.sections]
        if FIGURES not in titles:
            place = titles.index("Limits") if "Limits" in titles else len(titles)
            self.sections.insert(place, Section(FIGURES, ""))

    @classmethod
    def load(cls, folder):
        """Read a folder's ``README.md``, or return an empty card named after the folder. ConfigError if there is no
        such folder, or its front matter is not YAML."""
        from huggingface_hub import ModelCard as HubCard
        from yaml import YAMLError

        folder, path = Path(folder), Path(folder) / "README.md"
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}.")
        if not path.is_file():
            return cls(folder.resolve().name, {})
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            read = HubCard(text if text.startswith("---") else f"---\n{{}}\n---\n{text}", ignore_metadata_errors=True)
        except (YAMLError, ValueError) as error:
            raise ConfigError(f"the front matter of {path} can't be read: {str(error).splitlines()[0]}") from error
        front = {key: value for key, value in read.data.to_dict().items() if key != "model-index"}
        above, *sections = _split(_OLD_FIGURES.sub(rf"## {FIGURES}\n\1", read.text))
        heading, _, about = above.text.strip("\n").partition("\n")
        if heading.startswith("# "):
            title = heading[2:].strip()
        else:
            title, about = read.data.model_name or folder.resolve().name, above.text
        code = re.match(r"\s*```python\n(.*?)\n```(?:\n|\Z)", about, re.DOTALL)
        usage, about = (code[1], about[code.end() :]) if code else ("", about)
        return cls(title, front, usage, about.strip("\n"), sections, read.data.eval_results or [])

    def _text(self, section):
        if section.title != FIGURES:
            return section.text
        if not self.figures:
            return "No figures have been measured for this checkpoint yet."
        return markdown_table(("figure", "value", "95 %", "n", "photos"), map(_row, self.figures))

    def _data(self):
        from huggingface_hub import ModelCardData

        measured = {"model_name": self.title.split(":")[0], "eval_results": self.figures} if self.figures else {}
        return ModelCardData(**measured | self.front)  # which may have a model_name of its own


def markdown_table(header, rows):
    """A Markdown table from a header and rows."""
    lines = [" | ".join(map(str, cells)) for cells in (header, *rows)]
    lines = [f"| {line} |" for line in lines]
    return "\n".join([lines[0], "|" + "---|" * len(header), *lines[1:]])


def _split(text):
    """Split Markdown at its ``##`` headings; the first part is what precedes them. Code blocks stay whole."""
    sections, fenced = [Section("", [])], False
    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        if line.startswith("## ") and not fenced:
            sections.append(Section(line[3:].strip(), []))
        else:
            sections[-1].text.append(line)
    return [Section(section.title, "\n".join(section.text).rstrip()) for section in sections]


def _row(result):
    """Name, value, interval, sample size and photos of an ``EvalResult``."""
    details = result.metric_args or {}
    low, high = details.get("interval") or (None, None)
    interval = "" if low is None else f"{low:.4g} to {high:.4g}"
    photos = result.dataset_name + (f", {result.dataset_split}" if result.dataset_split else "")
    return result.metric_name, f"{result.metric_value:.4g}", interval, str(details.get("n", "")), photos
