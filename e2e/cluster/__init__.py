"""Clusters for tests, end-to-end suites, benchmarks and the demo."""
