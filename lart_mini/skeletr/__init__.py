"""SkeleTR: short skeleton sequences, a graph network for each, a transformer between them, three tasks."""

from lart_mini.skeletr.stgcnpp import LAYOUTS, STGCNPP, Layout, STGCNConfig

__all__ = [
    "LAYOUTS",
    "STGCNPP",
    "Layout",
    "STGCNConfig",
]
