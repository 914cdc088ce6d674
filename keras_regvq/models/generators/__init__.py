"""End-to-end models: label maps or texts to images."""
