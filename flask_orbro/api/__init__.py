"""What is served over HTTP: the lifecycle, the inbox and the descriptor, and the shape of every answer."""
