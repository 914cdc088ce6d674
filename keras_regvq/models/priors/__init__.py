"""Token priors: distributions over an image's tokens."""
