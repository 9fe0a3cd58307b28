"""The commands: one module each, with `add_arguments(parser)` and `run(args)`.

A module's name is the command's, and the first line of its docstring, behind the colon, is what
`--help` says of it.
"""
