"""What holds for every registered measure: options in, a report out, and all its views."""

import json
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard

from maskhub import FeatureNetwork
from maskhub.cli import main
from maskhub.errors import ConfigError
from maskhub.evaluation import encoders
from maskhub.evaluation.card import card_results, write_card
from maskhub.evaluation.measures import MEASURES, load
from maskhub.evaluation.page import report_page
from maskhub.evaluation.report import Figure, Report
from maskhub.evaluation.survey import Survey
from maskhub.evaluation.words import report_text


class Mean(encoders.Encoder):
    """The mean colours of a picture."""

    name, dimensions, face_network = "mean", 3, False

    def crop(self, pixels, face):
        return pixels

    def encode(self, crops):
        return [crop.mean((0, 1)) for crop in crops]


@pytest.fixture
def options(heads, tiny_pipeline, tmp_path, monkeypatch):
    """The values of each measure's options, all on the same four faces."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(encoders.ENCODERS, "mean", lambda weights: Mean())
    model, network, database = (tmp_path / name for name in ("model", "network", "survey.sqlite"))
    tiny_pipeline.save_pretrained(model)
    torch.manual_seed(0)
    FeatureNetwork("vgg16", layer=3, resolution=32).save_pretrained(network)
    pairs = ["fold,first,second,same,group"]
    pairs += [f"{f},{a}.png,{b}.png,{s},{'ab'[f - 1]}" for f in (1, 2) for s in (0, 1) for a, b in ((0, 1), (2, 3))]
    (heads / "pairs.csv").write_text("\n".join(pairs))
    questions = [SimpleNamespace(key=d, real=not d, masked=0, direction=d) for d in ("", "mask", "unmask", "")]
    Survey(database).record("visit", 1, questions, [True] * 4, "a", "faces")
    heads, model, network = map(str, (heads, model, network))
    return {
        "quality": {"real": heads, "input": heads, "model": model, "network": network, "groups": "group"},
        "pairs": {"photos": heads, "model": model, "measures": "psnr,ssim", "groups": "group"},
        "recognition": {
            "folder": heads, "encoders": "mean", "approaches": "baseline,strip", "model": model, "resamples": 3,
            "groups": ("group",),
        },
        "detection": {"unmasked": heads, "model": model, "detectors": "yunet", "groups": "group"},
        "cycle": {"unmasked": heads, "model": model, "groups": "group"},
        "masks": {"photos": heads, "model": model, "direction": "mask", "groups": "group"},
        "mask-detector": {"unmasked": heads, "groups": "group"},
        "classifier": {"photos": "builtin:pixel-faces/light/dark:test", "groups": "tone"},
        "survey": {"database": database, "groups": "direction"},
    }  # fmt: skip


@pytest.mark.parametrize("name", MEASURES)
def test_options_to_report_to_views(name, options, tmp_path):
    module = load(name)
    report = module.measure(module.Options(**options[name]))
    assert report.measure == name and report.n > 0 and report.photos and report.about and report.rows
    figures = report.figures()
    assert all(isinstance(figure, Figure) and figure.better in ("", "high", "low") for _, _, figure in figures)
    assert any(figure.better for _, _, figure in figures)
    assert any(figure.interval for _, _, figure in figures)
    assert any("only" in line or "fewer" in line for line in report.warnings)
    assert len(next(iter(report.groups.values()))) == 2

    report.save(tmp_path / "r.json")
    assert Report.load(tmp_path / "r.json") == report
    assert json.loads((tmp_path / "r.json").read_text())["figures"]

    page, text = report_page([tmp_path / "r.json"], tmp_path / "r.html"), report_text(report)
    for row, figure_name, _ in figures:
        assert row.replace("&", "&amp;") in page and row in text and figure_name in text
    results = card_results(report)
    assert write_card(tmp_path / "model", [report]) == len(results) > 0
    assert len(ModelCard.load(tmp_path / "model" / "README.md").data.eval_results) == len(results)


@pytest.mark.parametrize("name", MEASURES)
def test_the_command_writes_the_same_report(name, options, tmp_path, capsys):
    module, values = load(name), options[name]
    args = [str(values.pop("folder"))] if "folder" in values else []
    for option, value in values.items():
        args += [f"--{option.replace('_', '-')}", ",".join(value) if isinstance(value, tuple) else str(value)]
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", name, *args, "--output", str(tmp_path / "r.json")])
    out, err = capsys.readouterr()
    assert stop.value.code == 0 and f"wrote {tmp_path / 'r.json'}" in out and "note: " in err
    values |= {"folder": args[0]} if args[0][0] != "-" else {}
    assert Report.load(tmp_path / "r.json").rows == module.measure(module.Options(**values)).rows


@pytest.mark.parametrize("name", MEASURES)
def test_groups_are_written_one_way(name, options):
    class_, values = load(name).Options, options[name] | {"groups": " b, a ,b"}
    assert class_(**values).groups == class_(**values | {"groups": ["b", "a"]}).groups == ("b", "a")
    with pytest.raises(ConfigError, match="column 'age'"):
        load(name).measure(class_(**options[name] | {"groups": "age"}))
    with pytest.raises(ConfigError, match="there is no option --nonsense"):
        class_(**values, nonsense=1)
