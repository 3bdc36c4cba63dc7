"""What files have in common as places."""
