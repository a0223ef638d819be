"""What people do with the rules beside running them."""
