"""The gateway as pure Python: what may happen and what it costs."""
