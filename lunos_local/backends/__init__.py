"""The models of the local gateway, which answer requests."""
