"""What the pages of documentation say to type, and how it is made short enough for a test."""

import importlib.util
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

READ_ONLY_PAGES: Mapping[str, str] = {
    "results.md": "its commands measure on photographs that are not part of the repository, some for hours",
}
"""Pages none of whose commands are run; their flags are checked."""

ELSEWHERE: Mapping[str, str] = {
    "video.md": "tests/cli/test_video_docs.py",
    "serve.md": "tests/serve/test_serve_docs.py",
}
"""Pages that have a test file of their own, which runs everything and looks at what comes out."""

NOT_RUN: Mapping[str, str] = {
    r"python3? -m venv": "makes an environment from the network; .ci/run does it",
    r"pip install": "needs the network; extras are compared with pyproject.toml",
    r"facesmith serve\b": "runs until it is stopped; tests/serve starts it",
    r"curl\b": "needs the service",
    r".*camera:": "needs a camera",
    r".*--device (cuda|tensorrt)": "needs a GPU",
    r".*--cluster\b": "starts Ray, which takes a quarter of a minute; the verb's own tests do",
    r"facesmith export runs/(?!retinaface)": "an export takes a while; train.md has one, tests/export all",
    r"facesmith export \S+ --format (onnx-int8|openvino)": "the same; tests/export do it",
    r"facesmith detect \S+ --model (runs/damofd|retinaface-\S+-int8|\S+\.xml)": "needs what such an export writes",
    r"python benchmarks/": "measures for minutes or hours",
}
"""Commands that only have their flags checked -> why. Patterns match from the command's beginning."""

NEEDS: Mapping[str, tuple[str, ...]] = {
    r".*openvino": ("openvino",),
    r".*\bto_(arrow|pandas)\b": ("pyarrow", "pandas"),
    r".*\bto_supervision\b": ("supervision",),
}
"""What needs packages that not every development environment has -> their names; it is run where they are there."""

SHORTER: Mapping[str, Mapping[str, str]] = {
    r"facesmith train ": {
        "--train.steps": "1",
        "--train.workers": "0",
        "--train.batch.images": "2",
        "--train.batch.sides": "64",
        "--threads": "1",
    },
    r"facesmith ablate ": {
        "--train.steps": "1",
        "--train.workers": "0",
        "--train.batch.images": "1",
        "--train.batch.sides": "64",
        "--threads": "1",
        "--jobs": "1",
        "--rows": "ss",
    },
    r"facesmith search damofd ": {"--iterations": "3000"},
    r"facesmith benchmark ": {"--seconds": "0.01"},
    r"facesmith search bfbox ": {
        "--steps": "1",
        "--workers": "0",
        "--recalibration": "2",
        "--validation": "2",
        "--candidates": "2",
        "--threads": "1",
    },
}
"""Commands that take long -> flags that shorten them, in place of or besides their own."""

LINKS: Mapping[str, str] = {
    "TRUTH": "DIR/faces.txt",
    "IMAGES": "DIR",
    "PHOTOGRAPHS": "DIR",
    "DEV": "DIR",
    "FOLDS": "DIR/ground-truth/FDDB-folds",
}
"""Words that stand for paths -> what the test lets them point to. DIR holds training photographs and labels."""


@dataclass(frozen=True)
class Command:
    """A line of a code block.

    Attributes:
        page: name of the page.
        text: the command as it stands there, in one line, without comment.
        language: ``bash``, or ``python`` for a whole block.
    """

    page: str
    text: str
    language: str = "bash"

    @property
    def plain(self) -> str:
        """Without ``torchrun``, as one process."""
        return re.sub(r"^torchrun \S+ \d+ -m facesmith ", "facesmith ", self.text)

    @property
    def not_run(self) -> str | None:
        """Why it is not run; ``None``: it is."""
        if self.page in READ_ONLY_PAGES:
            return READ_ONLY_PAGES[self.page]
        absent = [
            package
            for pattern, packages in NEEDS.items()
            if re.match(pattern, self.text, re.DOTALL)
            for package in packages
            if importlib.util.find_spec(package) is None
        ]
        if absent:
            return f"needs {' and '.join(absent)}"
        return next((why for pattern, why in NOT_RUN.items() if re.match(pattern, self.text)), None)

    @property
    def needs_shell(self) -> bool:
        """Whether it has pipes, redirections and the like."""
        return any(sign in self.text for sign in "|<>;&$")

    def shortened(self) -> str:
        """The command with the flags of :data:`SHORTER`."""
        text = self.plain
        for pattern, flags in SHORTER.items():
            if re.match(pattern, text):
                for flag in flags:
                    text = re.sub(rf" {re.escape(flag)}(?: (?!--)\S+)*", "", text)
                text += "".join(f" {flag} {value}" for flag, value in flags.items())
        return text


def commands(page: Path) -> Iterator[Command]:
    """What ``page`` says to type, in its order; Python blocks as a whole."""
    for language, block in re.findall(r"^```(bash|sh|console|python)\n(.*?)^```", page.read_text(), re.DOTALL | re.M):
        if language == "python":
            yield Command(page.name, block, language)
            continue
        for line in re.sub(r"\\\n\s*", "", block).splitlines():
            text = re.sub(r"\s+#\s.*$", "", line.strip().removeprefix("$ "))
            if text and not text.startswith("#"):
                yield Command(page.name, text)


def inline_scripts() -> Iterator[Command]:
    """Scripts of the repository that are named in running text."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.M)
        for text in re.findall(r"`(python (?:benchmarks|tools)/[^`…]+)`", prose):
            yield Command(page.name, " ".join(text.split()))


def words(text: str) -> list[str]:
    """``text`` as a shell splits it."""
    return shlex.split(text)
