"""The local gateway's checks of requests."""
