"""Diffusion over tokens or their codes: a U-Net, two processes, their samplers."""
