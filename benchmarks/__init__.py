"""What is measured, and how. Run it with ``python -m benchmarks``; read ``README.md`` beside this file."""
