"""A decoder-only transformer over tokens, and sampling from it."""
