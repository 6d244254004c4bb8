"""A usage store as a page: its facts, the page that draws them, and metrics for Prometheus."""
