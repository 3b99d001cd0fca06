"""Each provider's official SDK as a transport: the reference that the direct one must agree with."""
