"""Texts to what a condition takes: word numbers or features."""
