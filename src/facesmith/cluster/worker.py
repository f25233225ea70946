"""What runs on the machines: a detector, and shard after shard through it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from facesmith import files, images
from facesmith.cluster.plan import FACES, PICTURES, Shard, shard_file
from facesmith.errors import ImageError, MissingExtraError
from facesmith.faces import Faces
from facesmith.runtime import Detector
from facesmith.tables import to_arrow

Loader = Callable[[], Detector]
Finder = Callable[[Detector, images.RGB], Faces]


class Worker:
    """One process with its own detector; ``find`` is what ``facesmith detect`` calls for a picture.

    Args:
        base: the folder that relative paths start from.
        out: the folder of the results. Both must be the same on all machines.
    """

    def __init__(self, loader: Loader, find: Finder, base: Path, out: Path) -> None:
        cv2.setNumThreads(1)
        self.detector, self.find, self.base, self.out = loader(), find, base, out

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Detect in one shard, write its two files, and count; a row of Ray's data set in, one out."""
        return self.work(Shard(int(row["number"]), list(row["paths"])))

    def work(self, shard: Shard) -> dict[str, Any]:
        """Detect in ``shard`` and write its files: faces first, then pictures, which says that the shard is done."""
        found = list[tuple[str, Faces]]()
        rows = list[tuple[str, int | None, int | None, int | None, str | None]]()
        for path in shard.paths:
            try:
                image = images.read(self.base / path)
                faces = self.find(self.detector, image)
            except ImageError as error:
                rows.append((path, None, None, None, str(error)))
            else:
                found.append((path, faces))
                rows.append((path, image.shape[1], image.shape[0], len(faces), None))
        self._write(shard.number, found, rows)
        unreadable = sum(row[4] is not None for row in rows)
        return {"number": shard.number, "pictures": len(rows), "unreadable": unreadable}

    def _write(self, number: int, found: list[tuple[str, Faces]], rows: list[tuple[Any, ...]]) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingExtraError("a cluster needs pyarrow: pip install 'facesmith[cluster]'") from error
        kinds = {"path": pa.string(), "width": pa.int32(), "height": pa.int32(), "faces": pa.int32()}
        kinds |= {"error": pa.string()}
        columns = list(zip(*((_text(row[0]), *row[1:]) for row in rows), strict=True))
        pictures = pa.table({name: pa.array(columns[i], kind) for i, (name, kind) in enumerate(kinds.items())})
        for kind, table in ((FACES, to_arrow((_text(path), faces) for path, faces in found)), (PICTURES, pictures)):
            with files.replacing(shard_file(self.out, kind, number)) as temporary:
                pq.write_table(table, temporary)


def _text(path: str) -> str:
    """Parquet holds valid text only; bytes of a file name that are none become ``\\xNN``."""
    return path.encode(errors="surrogateescape").decode(errors="backslashreplace")
