"""The strict implementation of the array API standard under test: formulas must need nothing that is not in the standard."""
