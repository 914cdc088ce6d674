"""Other projects' checkpoints, one format a file."""
