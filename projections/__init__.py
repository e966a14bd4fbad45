"""Read models: each answers one question about the past."""
