"""What the tests here need of the operators of all integration tests."""

from tests.integration.operators import CATALOG, PATIENT, Operator, make_lab, start_operator

__all__ = ["CATALOG", "PATIENT", "Operator", "make_lab", "start_operator"]
