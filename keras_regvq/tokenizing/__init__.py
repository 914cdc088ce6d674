"""Data sets of images into shards of tokens, once, by one process or many."""

from keras_regvq.tokenizing.tokenize import tokenize

__all__ = ["tokenize"]
