"""python -m models.table: all presets, and what they reach. See training/table.py."""

from .training import terminal

if __name__ == "__main__":
    terminal.prepare("models.table")  # before what takes long to import

    from .training.table import main

    terminal.run("models.table", main)
