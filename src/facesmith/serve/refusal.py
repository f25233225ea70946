"""An answer that says no."""

CLIENT_GONE = 499
"""Status of a request whose client has gone: nobody sees it but the metrics (nginx counts them so, too)."""


class Refusal(Exception):
    """A request is not served; becomes ``{"error": message}``.

    Attributes:
        status: of the HTTP answer.
        message: what was wrong and what would be right.
        retry_after: seconds after which it is worth to try again.
    """

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def busy(message: str) -> Refusal:
    """The service has too much to do."""
    return Refusal(503, message, retry_after=1)
