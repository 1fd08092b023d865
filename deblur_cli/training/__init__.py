"""Training: one engine, recipes as data, run folders that resume."""
