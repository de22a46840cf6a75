"""Real inference engines for the tests: how they are built, the tiny model they serve, and how a pod runs them."""
