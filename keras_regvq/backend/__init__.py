"""The only folder that names a backend."""
