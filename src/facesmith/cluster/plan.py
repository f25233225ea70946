"""Which pictures make up which shard, fixed when a run begins, so that a restarted one cannot lose or double any."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from facesmith import files
from facesmith.errors import ConfigError

PLAN, PATHS, FACES, PICTURES = "run.json", "paths.jsonl", "faces", "pictures"
"""Files and folders in the folder of the results."""

_LEAST, _MOST, _WANTED = 50, 1000, 100


class Shard(NamedTuple):
    """Pictures whose results are written together; ``paths`` as they stood on the command line."""

    number: int
    paths: Sequence[str]


@dataclass(frozen=True, eq=False)
class Plan:
    """A run's pictures, cut into shards of ``size``, and where their results go.

    ``out/faces/N.parquet`` is written first, then ``out/pictures/N.parquet``, each whole or not at all: a shard whose
    ``pictures`` file is there is done.
    """

    out: Path
    paths: Sequence[str]
    size: int

    @classmethod
    def begin(cls, out: Path, paths: Iterable[str], settings: Mapping[str, Any]) -> "Plan":
        """The plan in ``out`` if a run began there, else a new one for ``paths``, which are read only then.

        Raises:
            ConfigError: the run in ``out`` has other ``settings``, its list of pictures is damaged, or there are none.
        """
        if (out / PLAN).is_file():
            return cls._begun(out, settings)
        names = list(paths)
        if not names:
            raise ConfigError("there are no pictures to look at")
        size = min(max(len(names) // _WANTED, _LEAST), _MOST)
        text = "".join(json.dumps(name) + "\n" for name in names)  # a name may hold line breaks or be no valid text
        files.write_text(out / PATHS, text)
        plan = {"settings": dict(settings), "pictures": len(names), "shard": size, "sha256": _checksum(text)}
        files.write_text(out / PLAN, json.dumps(plan, indent=1) + "\n")
        return cls(out, names, size)

    @classmethod
    def _begun(cls, out: Path, settings: Mapping[str, Any]) -> "Plan":
        plan = json.loads((out / PLAN).read_text(encoding="utf-8"))
        given = json.loads(json.dumps(dict(settings)))
        if differing := sorted(key for key in plan["settings"] | given if plan["settings"].get(key) != given.get(key)):
            changes = "; ".join(f"{key}: {plan['settings'].get(key)!r}, now {given.get(key)!r}" for key in differing)
            raise ConfigError(f"{out}: the run that began here has other settings ({changes}); name another folder")
        text = (out / PATHS).read_text(encoding="utf-8")
        if _checksum(text) != plan["sha256"]:
            raise ConfigError(f"{out / PATHS}: was changed since the run began; name another folder")
        return cls(out, [json.loads(line) for line in text.splitlines()], plan["shard"])

    def __len__(self) -> int:
        return -(-len(self.paths) // self.size)

    def left(self) -> Iterator[Shard]:
        """The shards that are not done."""
        for number in range(len(self)):
            if not shard_file(self.out, PICTURES, number).exists():
                yield Shard(number, self.paths[number * self.size : (number + 1) * self.size])


def shard_file(out: Path, kind: str, number: int) -> Path:
    """``out/faces/000007.parquet``."""
    return out / kind / f"{number:06}.parquet"


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
