"""The procedural scenes, drawn with NumPy."""
