"""Scripts that try to break the package: kills while it writes, and files that were damaged."""
