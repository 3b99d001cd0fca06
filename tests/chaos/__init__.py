"""What the gateway promises when its parts are killed, frozen, cut off or filled up: real processes throughout."""
