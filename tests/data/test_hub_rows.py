"""Data sets of the (loopback) Hub as rows: configurations, columns of any kind and name, empty splits, a busy Hub."""

import csv
import io
import itertools

import numpy as np
import pytest
from hub_photos import encoded, push_parquet, row
from PIL import Image

from maskhub.data.curate import Criteria, curate_source
from maskhub.data.masked import Wearing
from maskhub.data.masked_files import mask_source
from maskhub.data.rows import HubRows, open_rows
from maskhub.data.shards import build_dataset
from maskhub.data.sources import open_source
from maskhub.errors import SourceError


@pytest.fixture(scope="module")
def head(astronaut):
    return astronaut.crop((120, 20, 330, 230)).resize((72, 72), Image.Resampling.LANCZOS)


def push(repo, columns, features=None, **options):
    from datasets import Dataset, Features

    Dataset.from_dict(columns, features and Features(features)).push_to_hub(repo, **options)


def first_number(spec):
    ((_, photo),) = open_source(spec).walk(range(1), 0)
    return round(np.asarray(photo)[0, 0, 0] / 10)


def test_configurations_are_named(hub_user):
    from datasets import Image as ImageFeature

    repo = hub_user.repo("many")
    for number, name in ((1, "small"), (2, "large")):
        push(repo, {"image": [row(number)]}, {"image": ImageFeature()}, config_name=name)
    assert first_number(f"{repo}/small") == first_number(f"{repo}/small:train#image") == 1
    assert first_number(f"{repo}/large:train") == 2
    with pytest.raises(SourceError, match=rf"has 2 configurations \(.*\): name one, as in {repo}/(small|large)"):
        open_source(repo)
    with pytest.raises(SourceError, match=r"has no configuration 'huge' \("):
        open_source(f"{repo}/huge")


def test_the_command_with_a_model(hub_user, head, tiny_pipeline, tmp_path, capsys):
    from datasets import Image as ImageFeature

    from maskhub.cli import main

    file, repo = io.BytesIO(), hub_user.repo("faces")
    head.save(file, "PNG")
    push(repo, {"image": [{"bytes": file.getvalue(), "path": "head.png"}]}, {"image": ImageFeature()})
    tiny_pipeline.save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit) as stop:
        main(["mask", repo, str(tmp_path / "out"), "--model", str(tmp_path / "model"), "--force"])
    assert stop.value.code == 0 and "1 made" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["struct", "bytes", "large bytes"])
def test_pictures_without_the_image_feature(hub_user, kind):
    from datasets import Value

    feature = {
        "struct": {"bytes": Value("binary"), "path": Value("string")},
        "bytes": Value("binary"),
        "large bytes": Value("large_binary"),
    }[kind]
    cells = [row(n) if kind == "struct" else encoded(n) for n in (3, 4)]
    repo = hub_user.repo(kind.replace(" ", ""))
    push(repo, {"photo": cells, "age": [1, 2]}, {"photo": feature, "age": Value("int64")})
    source = open_source(repo)
    assert sorted(round(np.asarray(p)[0, 0, 0] / 10) for _, p in source.walk(range(2), 0)) == [3, 4]
    rows = list(open_rows(repo))
    assert [one.columns for one in rows] == [{"age": 1}, {"age": 2}]
    assert [one.read() for one in rows] == [encoded(3), encoded(4)]
    assert rows[0].name.endswith(".png")


@pytest.mark.parametrize("command", ["mask", "curate", "build"])
def test_columns_called_like_the_tables_own(hub_user, head, tmp_path, command):
    import io

    from datasets import Image as ImageFeature
    from datasets import Value, load_dataset

    file = io.BytesIO()
    head.save(file, "PNG")
    own = ["file_name", "file_name_", "image", "mask_file_name"]
    columns = {"photo": [{"bytes": file.getvalue(), "path": "p.png"}]} | {name: [f"of {name}"] for name in own}
    repo = hub_user.repo(command)
    push(repo, columns, {"photo": ImageFeature()} | {name: Value("string") for name in own})
    if command == "build":
        build_dataset(repo, tmp_path / "o", progress=False)
        (line,) = load_dataset("parquet", data_dir=str(tmp_path / "o" / "data"), split="train")
    else:
        if command == "mask":
            mask_source(repo, tmp_path / "o", progress=False)
        else:
            curate_source(repo, tmp_path / "o", Criteria(min_size=10, min_sharpness=0), progress=False)
        (line,) = load_dataset("imagefolder", data_dir=str(tmp_path / "o"), split="train")
        assert line["image"].size == (72, 72)
    assert {f"of {name}" for name in own} <= {value for value in line.values() if isinstance(value, str)}


def test_an_empty_split_is_an_error(hub_user, tmp_path):
    from datasets import Image as ImageFeature

    repo = hub_user.repo("empty")
    push(repo, {"image": []}, {"image": ImageFeature()})
    for run in (mask_source, curate_source, build_dataset):
        with pytest.raises(SourceError, match="holds no photo"):
            run(repo, tmp_path / run.__name__, progress=False)


def test_long_and_strange_names(hub_user, tmp_path):
    names = ["名" * 90 + ".png", "a/../../b.png", "x\ny\0.png", "noname", "=cmd.png", None]
    rows = [{"bytes": encoded(n), "path": name} for n, name in enumerate(names)]
    push_parquet(tmp_path, hub_user.repo("names"), rows, shards=1)
    found = [one.name for one in open_rows(hub_user.repo("names"))]
    assert [name[:8] for name in found] == [f"{n:08d}" for n in range(len(names))]
    assert all(len(name.encode()) < 255 and "/" not in name and name.isprintable() for name in found)
    assert found[1:4] == ["00000001-b.png", "00000002-xy.png", "00000003.png"]


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("path", [r"/api/datasets/[^/]+/[^/?]+$", r"/resolve/.*README\.md", r"/tree/"])
def test_a_busy_hub_is_asked_again(hub_user, hub, tmp_path, no_waiting, status, path):
    push_parquet(tmp_path, hub_user.repo("faces"), [row(n) for n in range(3)])
    hub.fault("*", path, times=2, status=status, headers={"Retry-After": "1"}.items())
    assert len(list(itertools.islice(HubRows(open_source(hub_user.repo("faces"))), 3))) == 3
    assert sum(found == status for _, _, found in hub.log) >= 1


def test_how_long_to_wait_is_the_hubs_word(monkeypatch):
    import types

    from maskhub.hub_errors import patient

    waited = []
    monkeypatch.setattr("maskhub.hub_errors.time", types.SimpleNamespace(sleep=waited.append))
    from httpx2 import Request, Response
    from huggingface_hub.errors import HfHubHTTPError

    answers = [
        Response(429, headers={"Retry-After": "17"}),
        Response(503),
        Response(429, headers={"Retry-After": "9" * 9}),
    ]

    def call():
        if answers:
            answer = answers.pop(0)
            answer.request = Request("POST", "http://x")
            raise HfHubHTTPError("busy", response=answer)
        return "done"

    assert patient(call) == "done"
    assert waited == [18, 2, 300]


def test_a_table_of_a_hub_data_set_is_no_formula(hub_user, head, tmp_path):
    import io

    from datasets import Image as ImageFeature
    from datasets import Value

    file = io.BytesIO()
    head.save(file, "PNG")
    columns = {"image": [{"bytes": file.getvalue(), "path": "p.png"}], "who": ["=cmd|' /C calc'!A0"]}
    push(hub_user.repo("evil"), columns, {"image": ImageFeature(), "who": Value("string")})
    mask_source(hub_user.repo("evil"), tmp_path / "o", progress=False)
    with open(tmp_path / "o" / "metadata.csv", newline="") as table:
        (line,) = csv.DictReader(table)
    assert line["who"] == "'=cmd|' /C calc'!A0"


def test_faces_in_a_column(hub_user, head, tmp_path):
    """The column of the Hub's object detection data sets, whose classes are numbers."""
    from datasets import ClassLabel, List, Value
    from datasets import Image as ImageFeature

    wide = Image.new("RGB", (160, 80), (120, 130, 140))
    for left in (4, 84):
        wide.paste(head, (left, 4))
    file = io.BytesIO()
    wide.save(file, "PNG")
    cell = {"bytes": file.getvalue(), "path": "a.png"}
    boxes = List(List(Value("float32")))
    objects = {"bbox": boxes, "category": List(ClassLabel(names=["person", "face"]))}
    repo = hub_user.repo("boxed")
    row = {"bbox": [[100.0, 12.0, 44.0, 58.0]], "category": [1]}
    push(repo, {"image": [cell], "objects": [row]}, {"image": ImageFeature(), "objects": objects})
    wearing = Wearing(seed=1, own_boxes="objects", scores="none")
    assert mask_source(repo, tmp_path / "m", wearing, boxes="voc", progress=False).failures == []
    (annotation,) = (tmp_path / "m" / "annotations").glob("*.xml")
    assert "<name>face</name>" in annotation.read_text()
    assert build_dataset(repo, tmp_path / "b", wearing, crops=64, progress=False).made == 1
    with pytest.raises(SourceError, match="has no column 'boxes' of boxes; its other columns: objects"):
        mask_source(repo, tmp_path / "n", Wearing(own_boxes="boxes"), progress=False)
