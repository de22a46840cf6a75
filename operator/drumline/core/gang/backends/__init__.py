"""Who admits a gang, where it is not this operator: one adapter for each scheduler or queue."""
