"""Pages that stand alone in one HTML file."""
