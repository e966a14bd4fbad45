"""Dialects and wires of the live speech protocols."""
