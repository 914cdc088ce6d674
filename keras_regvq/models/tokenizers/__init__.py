"""Tokenizers: pictures or label maps to tokens and back."""
