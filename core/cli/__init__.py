"""The command line: one small module per command; torch is imported only inside a command."""
