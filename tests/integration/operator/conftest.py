"""What the tests here need of the operators of all integration tests."""

from tests.integration.operators import CATALOG, PATIENT, Operator, leading, make_lab, start_operator

__all__ = ["CATALOG", "PATIENT", "Operator", "leading", "make_lab", "start_operator"]
