"""What was seen: each process counts its calls in a file, and `report` reads the files."""
