"""The networks of this family."""
