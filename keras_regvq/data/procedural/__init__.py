"""The procedural scenes, painted with NumPy."""
