"""How the programs here end: with a line, and not with a traceback, whatever the terminal does.

    if __name__ == "__main__":
        terminal.prepare("train.py")
    import ...                                  what takes a second or two
    if __name__ == "__main__":
        terminal.run("train.py", main)

A signal before `prepare` meets Python alone. So nothing here takes long to import either:
`_signal` is what the module signal wraps in enums.
"""

import _signal as signal
import os
import sys


def prepare(program):
    """Before the imports: from now on Ctrl-C ends the program at once; and where standard streams
    are closed, as by 2>&-, what is written to them is lost, and their numbers go to no file."""

    def stop(number, frame):
        try:
            os.write(2, f"\n{program}: interrupted\n".encode())
        finally:
            os._exit(128 + number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, stop)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))


def run(program, main):
    """Exit with what main() returns: None, a status, or a text for stderr. Within it Ctrl-C is a
    KeyboardInterrupt; after it, the end."""
    is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    try:
        if not is_ignored:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
        print(f"\n{program}: interrupted", file=sys.stderr)
    except OSError as e:  # nobody reads stdout any more, or its disk is full
        status, sys.stdout = f"{program}: {e}", None
    if not is_ignored:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


class catch_signals:  # contextlib would take longer to import
    """Ctrl-C (and SIGTERM) ask to stop after the step at hand: gives a list, empty until then. A
    second Ctrl-C stops at once."""

    def __enter__(self):
        stop = []

        def handle(number, frame):
            if stop:
                raise KeyboardInterrupt
            stop.append(number)

        self.former = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM)}
        return stop

    def __exit__(self, *_):
        for number, handler in self.former.items():
            signal.signal(number, handler)


def out_of_memory(error):
    """What a MemoryError is to say: its own text may be none."""
    why = str(error) or "for one more object"
    return f"there is not enough memory ({why}); try a smaller model, or a smaller batch"
