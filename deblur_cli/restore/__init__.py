"""Restoring pictures: the restorer, tiling, the memory model, devices and the guard."""
