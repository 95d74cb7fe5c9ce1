"""One module of endpoints per service."""

BASE = "/api/v1/safety"
CHILDCARE = "/api/v1/childcare"
OPERATIONS = "/api/v1/operations"
