"""What a search leaves behind: the best detector's configuration, a picture, a few lines for the terminal."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from facesmith import configs, files
from facesmith.detectors.damofd.config import Backbone, DamoFDConfig
from facesmith.detectors.damofd.space import Genome, Regime
from facesmith.errors import ConfigError
from facesmith.search import pareto
from facesmith.search.budgets import BackboneMacs, DetectorMacs, DetectorParameters
from facesmith.search.damofd import BackboneSearch, Score
from facesmith.search.evolution import Best, Evolution
from facesmith.search.latency import Latency
from facesmith.search.record import CANDIDATES, read_candidates

BEST = "best.json"
PICTURE = "pareto.svg"


class Results:
    """The outcome of a finished search.

    Args:
        problem, evolution: what was searched, and how it ended.
        regime: gives neck and head, and the released net to compare with.

    Raises:
        ConfigError: no candidate kept to the budgets.
    """

    def __init__(self, problem: BackboneSearch, evolution: Evolution[Genome], regime: Regime) -> None:
        if evolution.best is None:
            refusals = ", ".join(f"{count} by {why}" for why, count in evolution.refusals.most_common())
            raise ConfigError(f"none of {evolution.iteration} nets was accepted ({refusals}); raise the budget")
        self.problem = problem
        self.evolution = evolution
        self.regime = regime
        self.best: Best[Genome] = evolution.best
        self.backbone: Backbone = problem.space.decode(self.best.candidate)
        self.detector: DamoFDConfig = replace(regime.detector, backbone=str(self.backbone))

    def write(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """Write ``best.json`` and ``pareto.svg`` beside the ``candidates.tsv`` in ``folder``."""
        budgets = self.problem.budgets
        evaluation = self.best.evaluation
        contents = {
            "name": f"damofd-{self.regime.name.lower()}-searched",
            "detector": "damofd",
            "config": configs.to_json(self.detector),
            "search": {
                "settings": dict(settings),
                "iterations": self.evolution.iteration,
                "score": evaluation.score,
                "costs": dict(zip((b.name for b in budgets), evaluation.costs, strict=True)),
                "limits": {budget.name: budget.limit for budget in budgets},
                "found at iteration": self.best.iteration,
                "refused": dict(self.evolution.refusals),
            },
        }
        files.write_text(folder / BEST, json.dumps(contents, indent=1) + "\n")
        scores, costs, _ = read_candidates(folder / CANDIDATES)
        shown = budgets[-1] if budgets[-1].measured else budgets[0]
        column = budgets.index(shown)
        marks = {"best": (evaluation.costs[column], evaluation.score)}
        released = self.regime.detector.net
        marks[f"released {self.regime.name}"] = (shown.figure(released), self.problem.score(released))
        picture = pareto.svg(costs[:, column], scores, marks, cost=shown.name, score="score", limit=shown.limit)
        files.write_text(folder / PICTURE, picture)

    def summary(self, seen: int) -> str:
        """The best net, its figures beside those of the released net, and how the search went."""
        released, budgets = self.regime.detector.net, self.problem.budgets
        figures: list[tuple[str, Score, str]] = [("score", self.problem.score, "")]
        figures += [(b.name, b.figure, f"  limit {_number(b.limit)}") for b in budgets]
        figures += [(f"{b.name}, measured whole", b.figure.whole, "") for b in budgets if isinstance(b.figure, Latency)]
        known = {name for name, _, _ in figures}
        further: dict[str, Score] = {
            "backbone MACs at 224x224": BackboneMacs(),
            "MACs at 640x480": DetectorMacs(self.detector),
            "parameters": DetectorParameters(self.detector),
        }
        figures += [(name, figure, "") for name, figure in further.items() if name not in known]
        width = max(len(name) for name, _, _ in figures)
        lines = [f"best net    {self.backbone}", f"released    {released}", ""]
        lines.append(f"{'':<{width}}  {'best':>16}  {'released ' + self.regime.name:>16}")
        for name, figure, limit in figures:
            found, there = figure(self.backbone), figure(released)
            lines.append(f"{name:<{width}}  {_number(found):>16}  {_number(there):>16}{limit}")
        refusals = ", ".join(f"{count:,} {why}" for why, count in self.evolution.refusals.most_common())
        lines.append("")
        lines.append(
            f"{self.evolution.iteration:,} nets tried, {seen:,} different ones kept to the budgets; refused: "
            f"{refusals or 'none'}"
        )
        return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.6f}"
