"""Whether sipwatch itself works, up to the people whom it tells."""
