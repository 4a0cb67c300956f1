"""What makes the engine safe, attached to it from outside: see README.md."""
