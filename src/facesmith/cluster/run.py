"""A run on a Ray cluster: the shards that are left, through Ray Data, to as many workers as there is room for."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facesmith.cluster.plan import FACES, PICTURES, Plan
from facesmith.cluster.worker import Finder, Loader, Worker
from facesmith.errors import FacesmithError, MissingExtraError
from facesmith.runtime.cpus import available_cpus

LOCAL = "local"
"""The address that starts Ray on this machine alone."""


@dataclass(frozen=True)
class Totals:
    """What lies in the folder of a finished run, also from runs before."""

    pictures: int
    unreadable: int
    faces: int


@dataclass(frozen=True)
class Place:
    """Where the workers run.

    Attributes:
        address: of the Ray cluster; ``auto`` finds the one this machine belongs to, :data:`LOCAL` starts one here.
        threads: CPUs of each worker.
        gpu: whether each worker needs a GPU.
    """

    address: str
    threads: int = 1
    gpu: bool = False


def run(plan: Plan, place: Place, loader: Loader, find: Finder) -> Iterator[dict[str, Any]]:
    """Work on the shards of ``plan`` that are left; a row with ``number``, ``pictures``, ``unreadable`` for each, as
    it is finished. Machines must see pictures and results at the same paths, and have facesmith installed.

    Raises:
        MissingExtraError: Ray is not installed.
        FacesmithError: the cluster cannot be reached, or a worker failed.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("a cluster needs ray: pip install 'facesmith[cluster]'") from error
    shards = [{"number": shard.number, "paths": list(shard.paths)} for shard in plan.left()]
    if not shards:
        return
    logging.getLogger("ray").setLevel(logging.ERROR)  # its plans and advice are not for who runs facesmith
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        if place.address == LOCAL:
            ray.init(
                num_cpus=available_cpus(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
            )
        else:
            ray.init(address=place.address, log_to_driver=False, logging_level=logging.ERROR)
        try:
            yield from _rows(ray, shards, plan, place, loader, find)
        finally:
            ray.shutdown()
    except (ConnectionError, ray.exceptions.RayError) as error:
        raise FacesmithError(f"the cluster at {place.address} failed: {_reason(error)}") from error


def totals(out: Path) -> Totals:
    """Count what the shards in ``out`` hold."""
    import pyarrow.dataset as ds

    pictures = ds.dataset(out / PICTURES, format="parquet")
    unreadable = pictures.count_rows(filter=ds.field("error").is_valid())
    return Totals(pictures.count_rows(), unreadable, ds.dataset(out / FACES, format="parquet").count_rows())


def _rows(
    ray: Any, shards: list[dict[str, Any]], plan: Plan, place: Place, loader: Loader, find: Finder
) -> Iterator[dict[str, Any]]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    resources = ray.cluster_resources()
    room = resources.get("GPU", 0) if place.gpu else resources.get("CPU", 1) // place.threads
    workers = min(max(int(room), 1), len(shards))
    rows = ray.data.from_items(shards, override_num_blocks=len(shards)).map(
        Worker,
        fn_constructor_args=(loader, find, Path.cwd(), plan.out.resolve()),
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
        num_cpus=place.threads,
        num_gpus=1 if place.gpu else 0,
    )
    yield from rows.iter_rows()


def _reason(error: Exception) -> str:
    """The worker's own words, without Ray's stack."""
    cause = getattr(error, "cause", None) or error
    lines = [line for line in str(cause).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(cause).__name__
