"""python -m models.chat: talks with SmolLM2, or with a model of your own. See inference/chat.py."""

from .training import terminal

if __name__ == "__main__":
    terminal.prepare("models.chat")  # before what takes long to import

    from .inference.chat import main

    terminal.run("models.chat", main)
