"""Where things are kept: organizations and claims in SQL, tokens and verdicts in memory or Redis."""
