"""What a run leaves: its folder, checkpoints, records and conditions, written and read."""
