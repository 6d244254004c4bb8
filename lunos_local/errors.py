"""The one error a request can end in, and how it looks on the wire."""

from __future__ import annotations

from starlette.responses import JSONResponse


class CutConnectionError(Exception):
    """Raised while answering to make the server drop the connection. Not a fault of the gateway."""


class WireError(Exception):
    """A request that cannot be answered.

    Attributes:
        status: HTTP status of the answer.
        message: what is wrong, in words.
        param: where it is wrong, as a path into the body (`messages[1].content[0].type`).
        code: short machine-readable name, or None.
        type: family of the error, as OpenAI names them.
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
        """Say what is wrong, and where."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code
        self.type = type

    def to_wire(self) -> dict[str, object]:
        """The body `{"error": {"code", "message", "param", "type"}}`."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "param": self.param,
                "type": self.type,
            }
        }

    def response(self, headers: dict[str, str] | None = None) -> JSONResponse:
        """The HTTP answer that carries this error."""
        return JSONResponse(self.to_wire(), status_code=self.status, headers=headers)
