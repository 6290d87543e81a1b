"""The command line: one file a command, and the options of all in ``parser``."""
