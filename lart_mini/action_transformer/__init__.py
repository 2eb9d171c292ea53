"""The Video Action Transformer."""
