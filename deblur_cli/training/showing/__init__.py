"""What a run shows of itself: the pairs it is fed, its curves, and events for TensorBoard."""
