"""What a run writes down: checkpoints, metrics, and what it is of, so that it can go on or be made again."""
