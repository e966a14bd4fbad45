"""The documents that the program serves, as data: `openapi.yaml` and `asyncapi.yaml`."""
