"""Where events are kept, and who writes them."""
