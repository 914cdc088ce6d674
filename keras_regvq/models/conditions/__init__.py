"""What a prior is conditioned on: classes, label maps, words, features, tokens."""
