"""The part of YAML that data.yaml files use: keys with scalars, lists and one level of mappings. No dependency."""

import re
from pathlib import Path
from typing import Any

from facesmith.errors import LabelError

_KEY = re.compile(r"^([^\s:#'\"\[\]{}-][^:]*?|'[^']*'|\"[^\"]*\")\s*:(?:\s+(.*))?$")


def load(path: Path) -> dict[str, Any]:
    """Key -> text, list of texts or mapping of texts. Numbers stay texts; empty values are ``""``.

    Raises:
        LabelError: the file cannot be read, or a line is beyond this part of YAML; names it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path}: cannot be read as YAML: {error}") from error
    document: dict[str, Any] = {}
    key = ""
    for number, raw in enumerate(lines, 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).rstrip()
        where = f"{path}:{number}"
        if not line or line in ("---", "..."):
            continue
        if not line.startswith((" ", "-", "\t")):
            key, value = _pair(line, where)
            document[key] = _value(value, where)
        elif not key:
            raise LabelError(f"{where}: {raw.strip()[:60]!r} belongs to no key")
        else:
            document[key] = _extended(document[key], line.strip(), where)
    return document


def _extended(value: Any, line: str, where: str) -> Any:
    """``value`` of a key with one more line of its block."""
    if line.startswith("- ") and (value == "" or isinstance(value, list)):
        return [*(value or []), _scalar(line[2:])]
    if value == "" or isinstance(value, dict):
        inner, text = _pair(line, where)
        if _is_flow(text):
            return {**(value or {}), inner: _value(text, where)}
        return {**(value or {}), inner: _scalar(text)}
    raise LabelError(f"{where}: {line[:60]!r} does not go on with the lines before")


def _pair(line: str, where: str) -> tuple[str, str]:
    match = _KEY.match(line)
    if match is None:
        raise LabelError(f"{where}: {line[:60]!r}; expected 'key: value'")
    return _scalar(match[1]), match[2] or ""


def _value(text: str, where: str) -> Any:
    text = text.strip()
    if not _is_flow(text):
        return _scalar(text)
    if text[-1] != {"[": "]", "{": "}"}[text[0]]:
        raise LabelError(f"{where}: a list or mapping must end in the line where it begins")
    parts = [part.strip() for part in re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^,'\"])+", text[1:-1]) if part.strip()]
    if text[0] == "[":
        return [_scalar(part) for part in parts]
    return {key: _scalar(value) for key, value in (_pair(part, where) for part in parts)}


def _is_flow(text: str) -> bool:
    return text.startswith(("[", "{"))


def _scalar(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
