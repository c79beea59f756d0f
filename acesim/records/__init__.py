"""Keeps what happened as rows, and finds it again."""
