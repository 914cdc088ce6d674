"""What is read from disk and written to it: whole or not at all, and never executed."""
