"""The command line: ``facesmith VERB ...``. A module a verb, imported only when that verb is used."""

import difflib
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, Protocol

from facesmith import __version__
from facesmith.errors import FacesmithError


class Verb(NamedTuple):
    """Where a verb lives (``module:class``) and its line in ``facesmith --help``."""

    home: str
    help: str


VERBS = {
    "detect": Verb("facesmith.cli.detect:Detect", "find faces in pictures, videos and what a webcam sees"),
    "anonymize": Verb("facesmith.cli.anonymize:Anonymize", "hide faces in pictures and videos"),
    "serve": Verb("facesmith.cli.serve:Serve", "answer over HTTP: a service, and a page for the browser"),
    "train": Verb("facesmith.cli.train:Train", "train a detector on labelled photographs"),
    "convert": Verb("facesmith.cli.convert:Convert", "convert labels between COCO, YOLO, WIDER, CVAT, Label Studio"),
    "data": Verb("facesmith.cli.data:Data", "check, describe and make labels of your own photographs"),
    "export": Verb("facesmith.cli.export:Export", "write a model as ONNX or for OpenVINO, float32 or int8"),
    "benchmark": Verb("facesmith.cli.benchmark:Benchmark", "time a model here: latency, throughput, memory, energy"),
    "evaluate": Verb("facesmith.cli.evaluate:Evaluate", "judge a detector by a benchmark's protocol"),
    "ablate": Verb("facesmith.cli.ablate:Ablate", "repeat a paper's ablation: train its variants, print its table"),
    "search": Verb("facesmith.cli.search:Search", "find the network that fits a budget"),
    "box-style": Verb("facesmith.cli.box_style:BoxStyle", "fit what a set of labels calls a face's box"),
    "submit": Verb("facesmith.cli.submit:Submit", "write predictions for a benchmark's server"),
    "models": Verb("facesmith.cli.models:Models", "list the weights: size, licence, training data, figures"),
    "doctor": Verb("facesmith.cli.doctor:Doctor", "check this installation and run a self-test"),
}

INTERRUPTED = 128 + signal.SIGINT
CLOSED_PIPE = 128 + 13  # SIGPIPE, which Windows lacks


class Command(Protocol):
    """What a verb's class is: a frozen dataclass, its fields the flags, with a ``run``."""

    def run(self) -> int:
        """Do it; return the exit code."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``facesmith`` with ``arguments`` (``None``: those of the process) and return its exit code.

    0: done. 1: done, but something in the input was wrong (``detect``: a picture could not be read). 2: not
    done; one line on stderr says why. 130: interrupted. 141: the reader of the output went away.
    """
    try:
        try:
            return _dispatch(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            if sys.stdout is not None:  # it is None where the caller closed it
                sys.stdout.flush()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # threads may take a moment to end; a second Ctrl-C is final
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at exit
        return CLOSED_PIPE
    except FacesmithError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else 2
    if arguments[0] in ("-V", "--version"):
        print(f"facesmith {__version__}")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        close = difflib.get_close_matches(name, VERBS, n=1)
        hint = f"did you mean `facesmith {close[0]}`?" if close else "`facesmith --help` lists the verbs"
        return _fail(f"no such verb: {name!r}; {hint}")
    return _parse(name, rest).run()


def _parse(name: str, arguments: list[str]) -> Command:
    """The verb's dataclass, filled from its flags; exits on ``--help`` and on wrong flags."""
    import tyro  # 0.1 s

    module, _, cls = VERBS[name].home.partition(":")
    command: Command = tyro.cli(
        getattr(import_module(module), cls),
        args=arguments,
        prog=f"facesmith {name}",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return command


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [
        f"facesmith {__version__}: find faces, and make the face detector that fits your budget",
        "",
        "usage: facesmith VERB ...      facesmith VERB --help      facesmith --version",
        "",
        *(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items()),
    ]
    return "\n".join(lines)


def _fail(message: str) -> int:
    print(f"facesmith: {message}", file=sys.stderr)
    return 2
