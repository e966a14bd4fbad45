"""The registry of weights: what they are, where they come from, how they are checked."""
