"""`WireError`: an error response, as an exception."""

from __future__ import annotations

from starlette.responses import JSONResponse


class CutConnectionError(Exception):
    """Raised on purpose to make the server drop the connection."""


class WireError(Exception):
    """A request that gets an error response.

    Attributes:
        status: HTTP status of the response.
        message: a description of the error.
        param: its place, as a path into the request body (`messages[1].content[0].type`).
        code: short machine-readable name, or None.
        type: the kind of error in OpenAI's terms.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        status: int = 400,
        code: str | None = None,
        type: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code
        self.type = type

    def to_wire(self) -> dict[str, object]:
        """Return the body `{"error": {"code", "message", "param", "type"}}`."""
        names = ("code", "message", "param", "type")
        return {"error": {name: getattr(self, name) for name in names}}

    def response(self, headers: dict[str, str] | None = None) -> JSONResponse:
        """Return the HTTP response with this error."""
        return JSONResponse(self.to_wire(), status_code=self.status, headers=headers)
