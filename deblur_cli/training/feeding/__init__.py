"""What a training sees: pairs, crops of them, and batches of crops, which depend on seed and position alone."""
