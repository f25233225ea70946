"""How fast a model is on this machine, and what it takes: behind ``facesmith benchmark``."""
