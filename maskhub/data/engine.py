"""Units as tasks of Ray, which schedules them, and repeats those of a lost worker or node."""

import platform

from maskhub.data.journal import RESULTS_OF
from maskhub.errors import ConfigError, MaskHubError, first_line
from maskhub.extras import require

__all__ = ["make_on_ray"]

RETRIES = 20
"""Times that a unit's task is restarted because its worker or node was lost."""
READY = 64
"""Finished tasks collected at once."""


def make_on_ray(plan, target, units, workers, report, bar):
    """Make the shards of ``units`` on the Ray cluster of ``RAY_ADDRESS`` or of this machine, or else on a new one here.

    Each task reads its unit, makes the photos in ``workers`` processes of its own (at least one, so that a photo that
    kills its process costs only itself), and puts the shard in place. Shards for the Hub are committed by this process
    alone. A folder must be visible to all nodes.

    Arguments as for :func:`~maskhub.data.shards.make_shards`.
    """
    require("ray")
    import ray

    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError:
            ray.init(log_to_driver=False)
    workers = max(1, workers)
    task = ray.remote(num_cpus=workers, max_retries=RETRIES)(_make_unit)
    shared = ray.put((plan, target, workers))
    waiting = [task.remote(shared, unit) for unit in units]
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=min(READY, len(waiting)), timeout=1.0)
        for answer in done:
            try:
                made, failures, uploaded, rows = ray.get(answer)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, MaskHubError):
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                raise ConfigError(f"Ray gave up a unit: {first_line(error)}") from error
            report.made += made
            report.failures += failures
            bar.update(rows)
            if uploaded:
                target.hub.take(uploaded)


def _make_unit(shared, unit):
    from tqdm import tqdm

    from maskhub.data.shards import BuildReport, make_shards

    plan, target, workers = shared
    wanted = plan.options["results_of"]
    if wanted != RESULTS_OF:
        raise ConfigError(
            f"the version of maskhub on {platform.node()} gives different results ({RESULTS_OF}, not {wanted}): "
            "install the same one on all nodes."
        )
    report = BuildReport()
    if target.hub:
        target.hub.commits = False
    with tqdm(disable=True) as bar:
        make_shards(plan, target, [unit], workers, report, bar)
    return report.made, report.failures, target.hub.uploaded if target.hub else [], report.made + len(report.failures)
