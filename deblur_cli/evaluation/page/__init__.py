"""Comparisons as one HTML file that needs no network: pictures, scores and the viewer that shows them."""
