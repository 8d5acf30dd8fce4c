"""CuPy under test, where there is an NVIDIA or AMD GPU."""
