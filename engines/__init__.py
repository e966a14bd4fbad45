"""Speech models behind the domain's ports."""
