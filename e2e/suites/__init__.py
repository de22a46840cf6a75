"""End-to-end suites: real training in real pods."""
