"""What a step costs: products, bytes, and time on named machines."""
