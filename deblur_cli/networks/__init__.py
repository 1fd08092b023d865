"""Networks and building blocks that several plugins share."""
