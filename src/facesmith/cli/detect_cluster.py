"""The part of ``facesmith detect`` that runs on a cluster."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from facesmith.cli.inputs import PICTURES, expand
from facesmith.cluster.plan import Plan
from facesmith.cluster.run import Place, run, totals
from facesmith.cluster.worker import Finder
from facesmith.runtime import load


def detect_on_cluster(
    inputs: tuple[str, ...],
    address: str,
    out: Path,
    *,
    model: str | None,
    device: str,
    threads: int,
    find: Finder,
    settings: dict[str, Any],
) -> int:
    """Find faces in all pictures of ``inputs``, as many at a time as the cluster has room for; the exit code.

    Args:
        inputs: files, folders, patterns, or ``-``, as on the command line.
        address: of the Ray cluster.
        out: the folder of the Parquet files.
        find: what is done to a picture.
        settings: all that decides the results; a restarted run must have the same.

    Raises:
        ConfigError: a run with other settings began in ``out``.
    """
    name = (
        str(Path(model).resolve()) if model is not None and Path(model).suffix in (".onnx", ".safetensors") else model
    )
    loader = partial(load, name, device=device, threads=threads)
    detector = loader()  # a wrong model or setting fails here, at once
    detector.detect([], **{key: value for key, value in settings.items() if key != "box_style"})
    problems = list[str]()
    fixed = {"paths": inputs, "folder": str(Path.cwd()), "model sha256": detector.checksum, **settings}
    plan = Plan.begin(out, _paths(inputs, problems), fixed)
    for problem in problems:
        print(f"facesmith: warning: {problem}", file=sys.stderr)
    del detector
    done = len(plan) - sum(1 for _ in plan.left())
    place = Place(address, threads, gpu=device.startswith("cuda"))
    with tqdm(total=len(plan), initial=done, unit="shard", disable=not sys.stderr.isatty()) as bar:
        for _ in run(plan, place, loader, find):
            bar.update()
    found = totals(out)
    before = f", {done} of them from before" if done else ""
    print(
        f"{out}: {found.pictures:,} pictures, {found.faces:,} faces, {found.unreadable:,} pictures unreadable, "
        f"{len(plan)} shards{before}"
    )
    return int(bool(found.unreadable or problems))


def _paths(inputs: tuple[str, ...], problems: list[str]) -> Iterator[str]:
    """The pictures; what is wrong with an input goes into ``problems``."""
    for found in expand(inputs, kind=PICTURES):
        if found.problem is None:
            yield found.path
        else:
            problems.append(f"{found.path}: {found.problem}")
