"""The science of Lookalike: distances, triplets and losses; encoders; learning. Imports no service."""
