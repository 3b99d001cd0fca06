"""What the autoscalers would do with our lanes: their published rules, replayed without a cluster."""
