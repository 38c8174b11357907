"""The pure step: what is trained, on what images, on which devices."""
