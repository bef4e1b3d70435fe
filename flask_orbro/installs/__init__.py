"""Who has installed the app: claims, their proof by the platform, and what follows from it."""
