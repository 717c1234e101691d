"""The microservice of Lookalike: it hosts an encoder, keeps galleries and answers over REST."""
