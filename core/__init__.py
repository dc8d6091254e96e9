"""What every domain shares; knows no domain.

Importing this package runs no code: everything heavy is imported inside the
command that needs it.
"""

__version__ = "0.2.0"
