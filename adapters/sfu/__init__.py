"""Rooms of a selective forwarding unit: tokens now, webhooks beside them."""
