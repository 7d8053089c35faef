"""What a model will cost: its memory, its work and its time, before it runs."""
