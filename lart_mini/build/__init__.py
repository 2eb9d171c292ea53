"""What remakes data_samples from the registry packages it was taken from: `python -m lart_mini.build`."""

__all__: list[str] = []
