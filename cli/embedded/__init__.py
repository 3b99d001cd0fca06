"""What `gateway up` runs when nothing else is there, each in a process of its own, all from installed wheels."""
