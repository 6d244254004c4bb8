"""What the local gateway refuses."""
