"""The one file of a multipart form (RFC 7578)."""

from typing import Any

from facesmith.errors import MissingExtraError
from facesmith.serve.refusal import Refusal

try:
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header
except ImportError as error:
    raise MissingExtraError("the service needs python-multipart: pip install 'facesmith[serve]'") from error

MAX_PARTS = 16

_HOW = "send one file, for instance with curl -F image=@photo.jpg"


def file_of(body: bytes, content_type: str) -> bytes:
    """The bytes of the form's only file, whatever it is called; other fields are passed over.

    Args:
        body: the whole form.
        content_type: of the request, which holds the boundary.

    Raises:
        Refusal: 400 if the form is malformed or cut short, or has no file or several.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Refusal(400, "the form's Content-Type has no boundary")
    form = _Form()
    try:
        parser = MultipartParser(boundary, form.callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, f"the form cannot be read: {error}") from error
    if not form.complete:
        raise Refusal(400, "the form is cut short: its last boundary is missing")
    if len(form.files) != 1:
        raise Refusal(400, f"the form has {len(form.files) or 'no'} files; {_HOW}")
    return bytes(form.files[0])


class _Form:
    """What the parser has met so far."""

    def __init__(self) -> None:
        self.files: list[bytearray] = []
        self.complete = False
        self._parts = 0
        self._name = self._value = b""
        self._is_file = False

    @property
    def callbacks(self) -> Any:
        """What the parser calls."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Refusal(400, f"the form has more than {MAX_PARTS} parts; {_HOW}")
        self._is_file = False

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition" and b"filename" in parse_options_header(self._value)[1]:
            self._is_file = True
            self.files.append(bytearray())
        self._name = self._value = b""

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self.files[-1] += data[start:end]

    def _end(self) -> None:
        self.complete = True
