"""Names the combinations that are compared: one screen of recipes."""
