"""Turns a server's inbox into its next model."""
