"""What an ablation study is: networks trained by one recipe, and rows of a table that judge them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facesmith.data.sources import SourceConfig
from facesmith.errors import ConfigError
from facesmith.training.loop import TrainConfig
from facesmith.training.studies.judges import Judge


@dataclass(frozen=True)
class Network:
    """One training.

    Attributes:
        name: of the weights.
        model: configuration, of any of ``facesmith.detectors.weights.DETECTORS``.
    """

    name: str
    model: Any


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: as the command line and the table call it.
        network: what is judged; rows may share one, which then is trained once.
        judges: how; together they give the study's columns.
        published: the paper's figures by the study's columns; ``None`` where it has none.
    """

    name: str
    network: Network
    judges: tuple[Judge, ...]
    published: tuple[float | None, ...]


@dataclass(frozen=True)
class Study:
    """An ablation of a paper.

    Attributes:
        name: of the subcommand.
        source: paper and table.
        differs: what differs from the paper's, in a sentence or two.
        train: how every network's weights are fitted.
        sources: the training data's sources in their shares; see :class:`~facesmith.training.recipes.recipe.Recipe`.
        rows: the table.

    Raises:
        ConfigError: a row's columns are not those of the first, or it has another number of published figures.
    """

    name: str
    source: str
    differs: str
    train: TrainConfig
    sources: tuple[SourceConfig, ...]
    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            columns = columns_of(row)
            if columns != self.columns or len(row.published) != len(columns):
                raise ConfigError(f"{self.name}: row {row.name} has columns {columns}, the first {self.columns}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles of the columns of figures."""
        return columns_of(self.rows[0])

    @property
    def networks(self) -> dict[str, Network]:
        """What is trained, by name."""
        return {row.network.name: row.network for row in self.rows}

    def chosen(self, names: Sequence[str]) -> tuple[Row, ...]:
        """The rows called ``names``, in the table's order; all of them where there is no name.

        Raises:
            ConfigError: there is no such row.
        """
        known = [row.name for row in self.rows]
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"{self.name} has no row {unknown[0]!r}; there are {', '.join(known)}")
        return tuple(row for row in self.rows if not names or row.name in names)


def columns_of(row: Row) -> tuple[str, ...]:
    """What the row's judges give, in their order."""
    return tuple(column for judge in row.judges for column in judge.columns)
