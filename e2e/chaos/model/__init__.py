"""The operator's decisions and executor in virtual time, against a model of the API server."""
