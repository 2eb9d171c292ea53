"""A notebook-first kit that teaches and reproduces LART: action recognition by following people in 3D."""

__version__ = "0.1.0"
