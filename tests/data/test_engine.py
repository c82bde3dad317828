"""Units as tasks of a Ray cluster: a node is killed, another one joins, and the bytes are those of one process."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from crash_disk import visible
from hub_photos import data_set_files

from maskhub import ConfigError
from maskhub.data.masked import Wearing
from maskhub.data.shards import build_dataset

COUNT = 24


@pytest.fixture
def folder(astronaut, tmp_path):
    from PIL import Image

    (tmp_path / "in").mkdir()
    head = astronaut.crop((120, 20, 330, 230)).resize((128, 128), Image.Resampling.LANCZOS)
    for number in range(COUNT):
        light = [min(255, int(v * (0.8 + 0.01 * number))) for v in range(256)] * 3
        head.point(light).save(tmp_path / "in" / f"{number:02d}.png")
    return tmp_path / "in"


def test_an_unknown_engine(folder, tmp_path):
    with pytest.raises(ConfigError, match="--engine is 'spark'"):
        build_dataset(folder, tmp_path / "out", engine="spark")


def test_a_node_with_a_maskhub_that_draws_otherwise_is_refused(folder, tmp_path, monkeypatch):
    from maskhub.data import engine
    from maskhub.data.plan import plan_build
    from maskhub.data.targets import open_target

    plan = plan_build(folder, Wearing(), None, COUNT)
    monkeypatch.setattr(engine, "RESULTS_OF", "2031-01-01")
    with pytest.raises(ConfigError, match=r"gives different results \(2031-01-01"):
        engine._make_unit((plan, open_target(tmp_path / "out"), 0), plan.units[0])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("target", ["folder", "hub"])
def test_three_nodes_of_which_one_is_killed_and_one_joins_late(folder, tmp_path, target, hub_user):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    options = {"shard_size": 2, "progress": False}
    build_dataset(folder, tmp_path / "alone", Wearing(seed=1), **options)
    out = hub_user.repo("ray") if target == "hub" else tmp_path / "out"
    where = f"hf://datasets/{out}" if target == "hub" else out
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)
        with ThreadPoolExecutor(1) as thread:
            build = thread.submit(build_dataset, folder, where, Wearing(seed=1), engine="ray", **options)
            while ray.available_resources().get("CPU") and not build.done():  # until both nodes are at work
                time.sleep(0.1)
            assert not build.done()
            cluster.remove_node(nodes[0], allow_graceful=False)
            cluster.add_node(num_cpus=1)
            assert not build.done()
            report = build.result()
        assert sum(node["Alive"] for node in ray.nodes()) == 3
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert (report.made + report.kept, report.missing) == (COUNT, 0)
    assert (data_set_files(out) if target == "hub" else visible(out)) == visible(tmp_path / "alone")
