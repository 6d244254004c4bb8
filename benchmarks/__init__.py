"""What a call through Lunos costs, compared with plain httpx, the frameworks and the peers.

`python -m benchmarks` measures and prints tables; see `__main__.py`. Every client runs in a process
of its own, pinned to one core; the server (`server.py`) is pinned to another.
"""
