"""For checkers: `import nanoautograd.nn.functional` is nanoautograd.functional, see __init__.py."""

from ..functional import *  # noqa: F403
