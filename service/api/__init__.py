"""The REST API: schemas, wire formats, problems and the routes."""
