"""python -m models.search: runs over a grid of options, compared. See training/search.py."""

from .training import terminal

if __name__ == "__main__":
    terminal.prepare("models.search")  # before what takes long to import

    from .training.search import main

    terminal.run("models.search", main)
