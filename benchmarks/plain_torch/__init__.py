"""Reg-VQ and the tokenizers it is compared with, in plain PyTorch (NCHW, two optimizers).

It has two uses: the peer of the training-step benchmark, written the way such code usually is, and
an independent reference for the tests, because it shares no line with `keras_regvq`. Clarity comes
before speed: one-hots are explicit, and every random draw can be passed in.
"""
