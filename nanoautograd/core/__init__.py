"""The core: read README.md beside this file first."""
