"""What is put under load, and the platform it asks. Each file runs in a process of its own."""
