"""Chains in the process: real code, throwaway state."""
