"""Checks of what users hand in."""
