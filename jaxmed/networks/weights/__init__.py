"""Loading of weights from other libraries' files."""
