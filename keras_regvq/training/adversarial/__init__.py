"""Two players: their losses, optimizers and saved state."""
