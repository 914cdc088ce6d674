__version__ = "0.2.0"
"""Version of the package, as pip shows it."""
