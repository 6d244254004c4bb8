"""The only I/O of the project, and the only modules that import httpx."""
