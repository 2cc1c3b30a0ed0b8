"""Turns the locked Python project into one checked, reproducible tree. Standard library only: it runs before any venv."""
