"""What travels between the door and the workers, and nothing else."""
