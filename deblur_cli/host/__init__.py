"""The plugin host: declarations, hook specifications, discovery, failures kept as data."""
