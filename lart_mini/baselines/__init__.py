"""What LART has to beat, on the same boxes."""
