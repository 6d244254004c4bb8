"""What the resources of a client share: the client that sends their requests."""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")


class Resource(Generic[C]):
    """Methods that send requests with a client."""

    def __init__(self, client: C) -> None:
        self._client = client
