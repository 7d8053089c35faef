"""What a loop calls at its turning points: one file for each callback."""
