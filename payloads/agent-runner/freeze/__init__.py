"""Turns the locked Python project into one checked, reproducible tree.

Standard library only, because it runs before there is an environment to have anything else in.
"""
