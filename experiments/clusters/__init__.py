"""Commands that start runs on other machines."""
