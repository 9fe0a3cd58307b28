"""Runs a program under the guard: the environment that it gets, and the program itself."""
