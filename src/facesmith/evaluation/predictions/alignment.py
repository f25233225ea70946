"""Bringing predictions and ground truth together by image name."""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from facesmith.errors import LabelError
from facesmith.evaluation.names import closest, image_name
from facesmith.faces import Faces

Predictions = dict[str, Faces]
"""Predictions by image name without suffix, as the protocol names images:
``0--Parade/0_Parade_Parade_0_12``.
"""

T = TypeVar("T")


def align(predictions: Mapping[str, T], names: Sequence[str]) -> list[T]:
    """The predictions of ``names``, in their order.

    A key stands for the name that it equals or, at a folder's boundary, ends with:
    ``data/images/0--Parade/a.jpg`` is ``0--Parade/a``.

    Raises:
        LabelError: an image has no entry (one without faces needs an empty entry), a key is none of the names
            (the closest one is given), or two keys stand for the same name.
    """
    found, unknown = _resolve(predictions, names)
    if unknown:
        raise LabelError(
            f"predictions for {_images(len(unknown))} that the ground truth does not have: "
            + "; ".join(f"{key!r}{closest(key, names)}" for key in unknown[:3])
            + ("; …" if len(unknown) > 3 else "")
        )
    missing = [name for name in names if name not in found]
    if missing:
        shown = ", ".join(map(repr, missing[:3])) + (", …" if len(missing) > 3 else "")
        raise LabelError(
            f"no predictions for {len(missing):,} of {_images(len(names))}: {shown}. An image without faces "
            "needs an empty entry; to evaluate some images only, take that subset of the ground truth"
        )
    return [predictions[found[name]] for name in names]


def restrict(predictions: Mapping[str, T], names: Collection[str]) -> dict[str, T]:
    """Those of ``predictions`` that are of ``names``, matched as by :func:`align`, keyed by these names.

    For evaluating a subset with predictions of the whole set; names without predictions are left out.
    """
    found, _ = _resolve(predictions, names)
    return {name: predictions[found[name]] for name in names if name in found}


def _resolve(predictions: Mapping[str, T], names: Collection[str]) -> tuple[dict[str, str], list[str]]:
    """Name -> key, and the keys that are no name."""
    known, found, unknown = frozenset(names), dict[str, str](), list[str]()
    for key in predictions:
        name = image_name(key)
        while name not in known and "/" in name:
            name = name.split("/", 1)[1]
        if name not in known:
            unknown.append(key)
        elif name in found:
            raise LabelError(f"predictions {found[name]!r} and {key!r} are both for image {name!r}")
        else:
            found[name] = key
    return found, unknown


def _images(n: int) -> str:
    return f"{n:,} image" + ("" if n == 1 else "s")
